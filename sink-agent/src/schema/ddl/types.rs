//! Types.

use strait_postgres::quote;
use strait_proto::v1;
use strait_proto::v1::user_type::Definition;

use super::collate;

/// The statement that creates the type. A domain comes without its default and its constraints, which may
/// need what does not exist yet.
pub(in super::super) fn create(user_type: &v1::UserType) -> String {
    let name = quote::qualified(&user_type.schema, &user_type.name);
    match &user_type.definition {
        Some(Definition::Enum(labels)) => create_enum(&name, labels),
        Some(Definition::Composite(composite)) => create_composite(&name, composite),
        Some(Definition::Domain(domain)) => create_domain(&name, domain),
        Some(Definition::Range(range)) => create_range(&name, &user_type.schema, range),
        // A type of a kind that this version does not know: a shell, which no table can use.
        None => format!("CREATE TYPE {name}"),
    }
}

/// Adds one constraint to a domain.
pub(in super::super) fn add_domain_constraint(
    user_type: &v1::UserType,
    constraint: &v1::DomainConstraint,
) -> String {
    format!(
        "ALTER DOMAIN {} ADD CONSTRAINT {} {}",
        quote::qualified(&user_type.schema, &user_type.name),
        quote::identifier(&constraint.name),
        constraint.definition
    )
}

/// Sets the default of a domain.
pub(in super::super) fn set_domain_default(user_type: &v1::UserType, expression: &str) -> String {
    format!("ALTER DOMAIN {} SET DEFAULT {expression}", quote::qualified(&user_type.schema, &user_type.name))
}

fn create_enum(name: &str, definition: &v1::EnumType) -> String {
    let labels: Vec<_> = definition.labels.iter().map(|label| quote::literal(label)).collect();
    format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "))
}

fn create_composite(name: &str, composite: &v1::CompositeType) -> String {
    let attributes = composite.attributes.iter().map(|attribute| {
        let (name, type_name) = (quote::identifier(&attribute.name), &attribute.type_name);
        format!("{name} {type_name}{}", collate(&attribute.collation))
    });
    format!("CREATE TYPE {name} AS ({})", attributes.collect::<Vec<_>>().join(", "))
}

fn create_domain(name: &str, domain: &v1::DomainType) -> String {
    let not_null = if domain.not_null { " NOT NULL" } else { "" };
    format!("CREATE DOMAIN {name} AS {}{}{not_null}", domain.base_type, collate(&domain.collation))
}

fn create_range(name: &str, schema: &str, range: &v1::RangeType) -> String {
    let multirange = quote::qualified(schema, &range.multirange_name);
    let options = [
        ("SUBTYPE", &range.subtype),
        ("SUBTYPE_OPCLASS", &range.subtype_opclass),
        ("COLLATION", &range.collation),
        ("SUBTYPE_DIFF", &range.subtype_diff),
        (
            "MULTIRANGE_TYPE_NAME",
            if range.multirange_name.is_empty() { &range.multirange_name } else { &multirange },
        ),
    ];
    let options = options.iter().filter(|(_, value)| !value.is_empty());
    let options: Vec<_> = options.map(|(option, value)| format!("{option} = {value}")).collect();
    format!("CREATE TYPE {name} AS RANGE ({})", options.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_type(definition: Definition) -> v1::UserType {
        v1::UserType {
            schema: "s".into(),
            name: "T\"x".into(),
            definition: Some(definition),
            creation_order: 0,
        }
    }

    #[test]
    fn each_kind_of_type_has_its_statement() {
        let attribute = |name: &str, type_name: &str, collation: &str| v1::CompositeAttribute {
            name: name.into(),
            type_name: type_name.into(),
            collation: collation.into(),
        };
        for (definition, expected) in [
            (
                Definition::Enum(v1::EnumType { labels: vec!["it's".into(), "".into()] }),
                r#"CREATE TYPE "s"."T""x" AS ENUM ('it''s', '')"#,
            ),
            (Definition::Enum(v1::EnumType::default()), r#"CREATE TYPE "s"."T""x" AS ENUM ()"#),
            (
                Definition::Composite(v1::CompositeType {
                    attributes: vec![
                        attribute("a", "integer", ""),
                        attribute("select", "text", "pg_catalog.\"C\""),
                    ],
                }),
                r#"CREATE TYPE "s"."T""x" AS ("a" integer, "select" text COLLATE pg_catalog."C")"#,
            ),
            (
                Definition::Domain(v1::DomainType {
                    base_type: "character varying(10)".into(),
                    not_null: true,
                    default_expression: "'x'::character varying".into(),
                    collation: "pg_catalog.\"C\"".into(),
                    constraints: vec![v1::DomainConstraint::default()],
                }),
                r#"CREATE DOMAIN "s"."T""x" AS character varying(10) COLLATE pg_catalog."C" NOT NULL"#,
            ),
            (
                Definition::Range(v1::RangeType {
                    subtype: "double precision".into(),
                    subtype_diff: "pg_catalog.float8mi".into(),
                    multirange_name: "many".into(),
                    ..Default::default()
                }),
                "CREATE TYPE \"s\".\"T\"\"x\" AS RANGE (SUBTYPE = double precision, \
                 SUBTYPE_DIFF = pg_catalog.float8mi, MULTIRANGE_TYPE_NAME = \"s\".\"many\")",
            ),
        ] {
            assert_eq!(create(&user_type(definition)), expected);
        }
    }

    #[test]
    fn a_domain_gets_its_default_and_constraints_afterwards() {
        let domain = user_type(Definition::Domain(v1::DomainType::default()));
        let constraint =
            v1::DomainConstraint { name: "Positive".into(), definition: "CHECK ((VALUE > 0))".into() };
        assert_eq!(
            add_domain_constraint(&domain, &constraint),
            r#"ALTER DOMAIN "s"."T""x" ADD CONSTRAINT "Positive" CHECK ((VALUE > 0))"#
        );
        assert_eq!(set_domain_default(&domain, "1"), r#"ALTER DOMAIN "s"."T""x" SET DEFAULT 1"#);
    }
}
