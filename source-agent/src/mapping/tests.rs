//! Rules and models, case by case.

use std::collections::BTreeMap;

use super::*;

fn entry(schema: &str, table: &str, options: v1::TableOptions) -> v1::ObjectPattern {
    v1::ObjectPattern { schema: schema.into(), table: table.into(), options: Some(options) }
}

fn renamed(schema: &str, table: &str, columns: &[(&str, &str)]) -> v1::TableOptions {
    let columns = columns.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
    let rename = v1::Rename { schema: schema.into(), table: table.into(), columns: columns.collect() };
    v1::TableOptions { rename: Some(rename), ..Default::default() }
}

fn mapping(include: Vec<v1::ObjectPattern>, case: NameCase) -> Mapping {
    let objects = Some(v1::ObjectSelection { include, ..Default::default() });
    Mapping::new(Some(&v1::TaskSpec { objects, name_case: case.into(), ..Default::default() }))
}

fn columns(names: &[&str]) -> Vec<v1::Column> {
    let column =
        |name: &&str| v1::Column { name: (*name).into(), type_name: "integer".into(), ..Default::default() };
    names.iter().map(column).collect()
}

fn constraint(name: &str, kind: v1::ConstraintKind, definition: &str) -> v1::Constraint {
    v1::Constraint {
        name: name.into(),
        kind: kind.into(),
        definition: definition.into(),
        ..Default::default()
    }
}

fn orders() -> v1::Table {
    v1::Table {
        table_id: 1,
        schema: "sales".into(),
        name: "orders".into(),
        columns: columns(&["id", "total", "note"]),
        constraints: vec![
            constraint("orders_pkey", v1::ConstraintKind::PrimaryKey, "PRIMARY KEY (id)"),
            constraint("noted", v1::ConstraintKind::Check, "CHECK ((note > total))"),
            v1::Constraint {
                references: Some(TableName::new("sales", "Parties")),
                ..constraint(
                    "to_party",
                    v1::ConstraintKind::ForeignKey,
                    "FOREIGN KEY (total) REFERENCES sales.\"Parties\"(id)",
                )
            },
        ],
        indexes: vec![v1::Index {
            name: "By total".into(),
            definition_tail: "USING btree (total)".into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn model() -> v1::SchemaModel {
    let parties = v1::Table {
        table_id: 2,
        schema: "sales".into(),
        name: "Parties".into(),
        columns: columns(&["id"]),
        ..Default::default()
    };
    v1::SchemaModel {
        schemas: vec!["sales".into()],
        tables: vec![orders(), parties],
        sequences: vec![v1::Sequence {
            schema: "sales".into(),
            name: "orders_id_seq".into(),
            owner_table: Some(TableName::new("sales", "orders")),
            owner_column: "id".into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn apply(mapping: &Mapping) -> Mapped {
    mapping.apply(&model(), ExtensionMembers::default(), &[])
}

#[test]
fn tables_go_where_the_most_specific_include_says() {
    let rules = vec![
        entry("sales", "", renamed("dw", "", &[])),
        entry("sales", "orders", renamed("", "fact", &[])),
        entry("a", "b", renamed("b", "a", &[])),
    ];
    for (case, source, target) in [
        (NameCase::Unspecified, ("sales", "Parties"), "dw.Parties"),
        (NameCase::Unspecified, ("sales", "orders"), "dw.fact"),
        (NameCase::Upper, ("sales", "orders"), "dw.fact"),
        (NameCase::Upper, ("sales", "Parties"), "dw.PARTIES"),
        (NameCase::Lower, ("Other", "Größe"), "other.größe"),
        (NameCase::Source, ("Other", "T"), "Other.T"),
        (NameCase::Source, ("a", "b"), "b.a"),
    ] {
        let mapping = mapping(rules.clone(), case);
        assert_eq!(mapping.target(&TableName::new(source.0, source.1)).to_string(), target);
    }
}

#[test]
fn a_table_that_was_renamed_at_the_source_keeps_its_rules() {
    let options = v1::TableOptions { columns: vec!["id".into()], ..renamed("", "fact", &[("id", "key")]) };
    let mapping = mapping(
        vec![entry("sales", "orders", options), entry("sales", "", Default::default())],
        NameCase::Source,
    );
    let mut model = model();
    model.tables[0].name = "renamed".into();
    let state =
        v1::TableState { table_id: 1, table: Some(TableName::new("sales", "fact")), ..Default::default() };
    let mapped = mapping.apply(&model, ExtensionMembers::default(), &[state]);
    let map = mapped.table(1).unwrap();
    assert_eq!(map.target.to_string(), "sales.fact");
    assert_eq!(map.columns.target("id").as_deref(), Some("key"));
    assert_eq!(map.columns.target("total"), None);
}

#[test]
fn what_depends_on_a_table_follows_it() {
    let rules = vec![
        entry("sales", "", Default::default()),
        entry("sales", "orders", renamed("dw", "Fact", &[("total", "Sum"), ("id", "order_id")])),
        entry("sales", "Parties", renamed("", "", &[("id", "party")])),
    ];
    let mapped = apply(&mapping(rules, NameCase::Lower));
    let table = &mapped.model.tables[0];
    let names: Vec<&str> = table.columns.iter().map(|it| &*it.name).collect();
    assert_eq!((&*table.schema, &*table.name, names), ("dw", "Fact", vec!["order_id", "Sum", "note"]));
    let definitions: Vec<&str> = table.constraints.iter().map(|it| &*it.definition).collect();
    assert_eq!(
        definitions,
        [
            r#"PRIMARY KEY ("order_id")"#,
            r#"CHECK ((note > "Sum"))"#,
            r#"FOREIGN KEY ("Sum") REFERENCES "sales"."parties"("party")"#,
        ]
    );
    assert_eq!(table.constraints[2].references, Some(TableName::new("sales", "parties")));
    assert_eq!(
        (&*table.indexes[0].name, &*table.indexes[0].definition_tail),
        ("by total", r#"USING btree ("Sum")"#)
    );
    let sequence = &mapped.model.sequences[0];
    assert_eq!(
        (&*sequence.schema, &*sequence.name, &*sequence.owner_column),
        ("dw", "orders_id_seq", "order_id")
    );
    assert_eq!(
        mapped.sequence(&TableName::new("sales", "orders_id_seq")),
        TableName::new("dw", "orders_id_seq")
    );
    assert_eq!(mapped.model.schemas, ["dw", "sales"]);
}

#[test]
fn what_needs_a_column_that_is_left_out_is_skipped_with_the_reason() {
    let options = v1::TableOptions { columns: vec!["id".into(), "note".into()], ..Default::default() };
    let mapped = apply(&mapping(vec![entry("sales", "orders", options)], NameCase::Source));
    let table = &mapped.model.tables[0];
    assert_eq!(table.columns.len(), 2);
    assert_eq!(table.constraints.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["orders_pkey"]);
    assert!(table.indexes.is_empty());
    let skipped: Vec<_> = mapped.model.skipped.iter().map(|it| (&*it.object_kind, &*it.name)).collect();
    assert_eq!(
        skipped,
        [("constraint", "orders.noted"), ("constraint", "orders.to_party"), ("index", "orders.By total")]
    );
    assert!(mapped.model.skipped.iter().all(|it| it.detail.contains("column total")));
}

#[test]
fn a_key_of_the_destinations_own_leaves_the_sources_as_a_unique_one() {
    let options = v1::TableOptions {
        primary_key: vec!["total".into()],
        column_types: BTreeMap::from([("total".to_owned(), "bigint".to_owned())]),
        ..Default::default()
    };
    let mapped = apply(&mapping(vec![entry("sales", "orders", options)], NameCase::Source));
    let table = &mapped.model.tables[0];
    let definitions: Vec<_> =
        table.constraints.iter().take(2).map(|it| (&*it.name, &*it.definition)).collect();
    assert_eq!(definitions, [("orders_pkey1", r#"PRIMARY KEY ("total")"#), ("orders_pkey", "UNIQUE (id)")]);
    assert_eq!((&*table.columns[1].type_name, table.columns[1].not_null), ("bigint", true));
}

#[test]
fn without_rules_the_model_stays_as_it_is() {
    for mapping in
        [Mapping::default(), mapping(vec![entry("sales", "", Default::default())], NameCase::Source)]
    {
        assert!(mapping.is_identity());
        assert_eq!(apply(&mapping).model, model());
    }
}

#[test]
fn what_is_said_of_a_partitioned_table_holds_for_its_partitions() {
    let mut root = v1::TableOptions {
        columns: vec!["id".into()],
        r#where: "id > 0".into(),
        ..renamed("dw", "fact", &[("id", "key")])
    };
    root.operations = vec![1];
    let rules = vec![
        entry("sales", "", renamed("all", "", &[])),
        entry("sales", "orders", root.clone()),
        entry("sales", "orders_own", renamed("", "own", &[])),
    ];
    let mapping = mapping(rules, NameCase::Unspecified);
    let partition = |name: &str, parent: &str| {
        let place =
            v1::PartitionOf { parent: Some(TableName::new("sales", parent)), bound: "DEFAULT".into() };
        v1::Table {
            schema: "sales".into(),
            name: name.into(),
            partition_of: Some(place),
            ..Default::default()
        }
    };
    let tables = vec![
        partition("orders_eu", "orders"),
        partition("orders_eu_1", "orders_eu"),
        partition("orders_own", "orders"),
        partition("leaf", "orders"),
    ];
    mapping.learn(&v1::SchemaModel { tables, ..Default::default() });
    for (source, target) in [
        ("orders", "dw.fact"),
        ("orders_eu", "dw.fact_eu"),
        ("orders_eu_1", "dw.fact_eu_1"),
        ("orders_own", "dw.own"),
        ("leaf", "dw.leaf"),
        ("other", "all.other"),
    ] {
        assert_eq!(mapping.target(&TableName::new("sales", source)).to_string(), target);
    }
    let leaf = TableName::new("sales", "orders_eu_1");
    let options = mapping.options(&leaf);
    assert_eq!(
        (&options.columns, &options.r#where, &options.operations),
        (&root.columns, &root.r#where, &root.operations)
    );
    let parent = TableName::new("sales", "orders_eu");
    assert!(!mapping.stands_alone_alike(&leaf, &parent), "alone it has other columns");
    assert!(mapping.stands_alone_alike(&TableName::new("sales", "a"), &TableName::new("sales", "b")));
}
