//! What is rendered for the family, against files that hold what it accepts. Never run on a cluster of the family here.

use super::super::ddl::tables;
use super::*;

fn column(name: &str) -> v1::Column {
    v1::Column { name: name.into(), type_name: "integer".into(), ..Default::default() }
}

fn not_null(name: &str) -> v1::Column {
    v1::Column { not_null: true, ..column(name) }
}

fn constraint(name: &str, kind: ConstraintKind, definition: &str) -> v1::Constraint {
    v1::Constraint {
        name: name.into(),
        kind: kind.into(),
        definition: definition.into(),
        ..Default::default()
    }
}

fn table(name: &str, constraints: &[(&str, &str)]) -> v1::Table {
    let kind = |definition: &str| match definition {
        it if it.starts_with("PRIMARY") => ConstraintKind::PrimaryKey,
        it if it.starts_with("EXCLUDE") => ConstraintKind::Exclusion,
        it if it.starts_with("FOREIGN") => ConstraintKind::ForeignKey,
        _ => ConstraintKind::Unique,
    };
    let constraints =
        constraints.iter().map(|(name, definition)| constraint(name, kind(definition), definition));
    v1::Table {
        schema: "s".into(),
        name: name.into(),
        columns: vec![not_null("a"), not_null("b"), column("c D")],
        constraints: constraints.collect(),
        ..Default::default()
    }
}

fn by(kind: DistributionKind, columns: &[&str]) -> Option<v1::Distribution> {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Some(v1::Distribution { kind: kind.into(), columns })
}

/// What would be run for a table, and what is said of it.
fn rendered(mut table: v1::Table, beam: bool) -> String {
    let remarks = adapt(&mut table, Family { beam });
    let mut out = format!("{};\n", tables::create(&table, &[]));
    for constraint in &table.constraints {
        out += &format!("{};\n", tables::alter(&table, false, &[tables::add_constraint(constraint)]));
    }
    for index in &table.indexes {
        out += &format!("{};\n", tables::create_index(&table, index));
    }
    for remark in remarks {
        out += &format!("-- {remark}\n");
    }
    out
}

#[test]
fn tables_are_rendered_as_the_family_accepts_them() {
    let unique_index = |tail: &str| v1::Index {
        name: "i".into(),
        unique: true,
        definition_tail: tail.into(),
        ..Default::default()
    };
    let cases = [
        ("by its primary key", table("plain", &[("k", "PRIMARY KEY (a)")]), false),
        ("beam is the default where it is", table("beam", &[("k", "PRIMARY KEY (a)")]), true),
        (
            "storage chosen",
            v1::Table { storage: "heap".into(), ..table("heap", &[("k", "PRIMARY KEY (a)")]) },
            true,
        ),
        (
            "append-optimised tables have no unique keys",
            v1::Table {
                storage: "ao_column".into(),
                indexes: vec![unique_index("USING btree (a)")],
                ..table("ao", &[("k", "PRIMARY KEY (a)")])
            },
            true,
        ),
        (
            "what all keys share",
            table("shared", &[("k", "PRIMARY KEY (a, b)"), ("u", r#"UNIQUE (b, "c D")"#)]),
            false,
        ),
        ("keys that share nothing", table("apart", &[("k", "PRIMARY KEY (a)"), ("u", "UNIQUE (b)")]), false),
        (
            "a distribution key of its own",
            v1::Table {
                distribution: by(DistributionKind::Hash, &["c D"]),
                indexes: vec![unique_index("USING btree (a)")],
                ..table("own", &[("k", "PRIMARY KEY (a)")])
            },
            false,
        ),
        ("no key", table("keyless", &[]), false),
        ("a unique key becomes the primary key", table("unique", &[("u", "UNIQUE (a, b)")]), false),
        ("one that may be NULL does not", table("nullable", &[("u", r#"UNIQUE ("c D")"#)]), false),
        (
            "randomly only without a key",
            v1::Table {
                distribution: by(DistributionKind::Random, &[]),
                ..table("random", &[("k", "PRIMARY KEY (a)")])
            },
            false,
        ),
        (
            "replicated accepts any key",
            v1::Table {
                distribution: by(DistributionKind::Replicated, &[]),
                ..table("replicated", &[("k", "PRIMARY KEY (a)"), ("u", "UNIQUE (b)")])
            },
            false,
        ),
        (
            "a distribution key that the table does not have",
            v1::Table {
                distribution: by(DistributionKind::Hash, &["z"]),
                ..table("misnamed", &[("k", "PRIMARY KEY (a)")])
            },
            false,
        ),
        (
            "foreign keys stand for people",
            table(
                "referring",
                &[("k", "PRIMARY KEY (a)"), ("f", "FOREIGN KEY (b) REFERENCES s.plain(a) ON DELETE CASCADE")],
            ),
            false,
        ),
        (
            "no exclusion constraints",
            table("excluding", &[("k", "PRIMARY KEY (a)"), ("x", "EXCLUDE USING gist (b WITH =)")]),
            false,
        ),
    ];
    let out: Vec<String> = cases
        .into_iter()
        .map(|(title, table, beam)| format!("-- {title}\n{}", rendered(table, beam)))
        .collect();
    let out = out.join("\n");
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema/greenplum/golden/tables.sql");
    if std::env::var_os("STRAIT_WRITE_GOLDEN").is_some() {
        std::fs::write(golden, &out).unwrap();
    }
    assert_eq!(
        out,
        std::fs::read_to_string(golden).unwrap(),
        "set STRAIT_WRITE_GOLDEN=1 to accept, and look at it"
    );
}
