//! Tables, their constraints and their indexes.
//!
//! A child of plain inheritance lists only the columns that it declares itself or that its parents do not give it, so that the
//! others stay inherited alone; where it differs from them in NOT NULL, that follows in the same batch and so in the same
//! transaction.

use strait_postgres::quote;
use strait_proto::v1;

use super::{collate, sequences};

/// The statements that create the table, to be run as one batch. Without defaults, keys, constraints and
/// indexes. `parents` are the tables that it inherits from.
pub(in super::super) fn create(table: &v1::Table, parents: &[&v1::Table]) -> String {
    let name = name(table);
    let inherited = Inherited { parents };
    let listed = table.columns.iter().filter(|it| inherited.is_listed(it));
    let columns: Vec<_> = listed.map(|it| definition(it, inherited.has_generated(it))).collect();
    let columns =
        if columns.is_empty() { String::new() } else { format!("\n    {}\n", columns.join(",\n    ")) };

    let mut statements = format!("CREATE TABLE {name} ({columns})");
    if !parents.is_empty() {
        let parents: Vec<_> = parents.iter().map(|parent| self::name(parent)).collect();
        statements.push_str(&format!(" INHERITS ({})", parents.join(", ")));
    }
    if table.is_structure() {
        statements.push_str(&format!(" PARTITION BY {}", table.partition_key));
    }
    statements.push_str(&table.dialect_clauses);
    for column in &table.columns {
        let action = match (column.not_null, inherited.is_not_null(column)) {
            (true, false) if !inherited.is_listed(column) => "SET",
            (false, true) => "DROP",
            _ => continue,
        };
        let column = quote::identifier(&column.name);
        statements.push_str(&format!(";\nALTER TABLE ONLY {name} ALTER COLUMN {column} {action} NOT NULL"));
    }
    statements
}

/// The statement that applies `actions` to the table alone, or to its children too.
pub(in super::super) fn alter(table: &v1::Table, recurse: bool, actions: &[String]) -> String {
    let only = if recurse { "" } else { "ONLY " };
    format!("ALTER TABLE {only}{} {}", name(table), actions.join(", "))
}

pub(in super::super) fn set_default(column: &v1::Column) -> String {
    format!("ALTER COLUMN {} SET DEFAULT {}", quote::identifier(&column.name), column.default_expression)
}

pub(in super::super) fn add_constraint(constraint: &v1::Constraint) -> String {
    format!("ADD CONSTRAINT {} {}", quote::identifier(&constraint.name), constraint.definition)
}

/// The statements that create the index, to be run as one batch.
pub(in super::super) fn create_index(table: &v1::Table, index: &v1::Index) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let index_name = quote::identifier(&index.name);
    // Partitions have their own, which are attached to it.
    let only = if table.is_structure() { "ONLY " } else { "" };
    let mut statements =
        format!("CREATE {unique}INDEX {index_name} ON {only}{} {}", name(table), index.definition_tail);
    for setting in &index.settings {
        let index_name = quote::qualified(&table.schema, &index.name);
        statements.push_str(&format!(";\nALTER INDEX {index_name} {setting}"));
    }
    if index.clustered {
        statements.push_str(&format!(";\n{}", cluster_on(table, &index.name)));
    }
    statements
}

/// Marks the table to be clustered on an index.
pub(in super::super) fn cluster_on(table: &v1::Table, index: &str) -> String {
    alter(table, false, &[format!("CLUSTER ON {}", quote::identifier(index))])
}

/// One of the table's storage parameters, or one of a column's settings.
pub(in super::super) fn set_storage_parameter(parameter: &str) -> String {
    format!("SET ({parameter})")
}

pub(in super::super) fn set_column(column: &v1::Column, setting: &str) -> String {
    format!("ALTER COLUMN {} {setting}", quote::identifier(&column.name))
}

/// Makes a table a partition of another one.
pub(in super::super) fn attach(parent: &v1::TableName, table: &v1::TableName, bound: &str) -> String {
    format!(
        "ALTER TABLE ONLY {} ATTACH PARTITION {} {bound}",
        quote::qualified(&parent.schema, &parent.name),
        quote::qualified(&table.schema, &table.name)
    )
}

/// Makes a partition a table of its own.
pub(in super::super) fn detach(parent: &v1::TableName, table: &v1::TableName) -> String {
    format!(
        "ALTER TABLE {} DETACH PARTITION {}",
        quote::qualified(&parent.schema, &parent.name),
        quote::qualified(&table.schema, &table.name)
    )
}

fn name(table: &v1::Table) -> String {
    quote::qualified(&table.schema, &table.name)
}

/// `generated_above`: the parents give it the same expression, which must not be said again.
fn definition(column: &v1::Column, generated_above: bool) -> String {
    let mut definition =
        format!("{} {}{}", quote::identifier(&column.name), column.type_name, collate(&column.collation));
    if let Some(generated) = column.generated.as_ref().filter(|_| !generated_above) {
        let kind = if generated.r#virtual { "VIRTUAL" } else { "STORED" };
        definition.push_str(&format!(" GENERATED ALWAYS AS ({}) {kind}", generated.expression));
    }
    if let Some(identity) = &column.identity {
        definition.push_str(&format!(" {}", sequences::identity(identity)));
    }
    if column.not_null {
        definition.push_str(" NOT NULL");
    }
    definition
}

/// What the parents give a table.
struct Inherited<'a> {
    parents: &'a [&'a v1::Table],
}

impl Inherited<'_> {
    /// Whether the child's own definition has to name the column: it is its own (too), or differs in a way that can only be
    /// said there.
    fn is_listed(&self, column: &v1::Column) -> bool {
        let mut inherited = self.columns(&column.name).peekable();
        column.local
            || inherited.peek().is_none()
            || column.identity.is_some()
            || column.generated.is_some() && inherited.any(|parent| parent.generated != column.generated)
    }

    fn has_generated(&self, column: &v1::Column) -> bool {
        column.generated.is_some()
            && self.columns(&column.name).any(|parent| parent.generated == column.generated)
    }

    fn is_not_null(&self, column: &v1::Column) -> bool {
        self.columns(&column.name).any(|parent| parent.not_null)
    }

    fn columns<'c>(&'c self, name: &'c str) -> impl Iterator<Item = &'c v1::Column> {
        self.parents.iter().flat_map(|parent| &parent.columns).filter(move |column| column.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str) -> v1::Column {
        v1::Column { name: name.into(), type_name: type_name.into(), ..Default::default() }
    }

    fn not_null(column: v1::Column) -> v1::Column {
        v1::Column { not_null: true, ..column }
    }

    fn generated(column: v1::Column, expression: &str) -> v1::Column {
        let generated = v1::GeneratedColumn { expression: expression.into(), r#virtual: false };
        v1::Column { generated: Some(generated), ..column }
    }

    fn table(name: &str, columns: Vec<v1::Column>) -> v1::Table {
        v1::Table { schema: "s".into(), name: name.into(), columns, ..Default::default() }
    }

    #[test]
    fn a_table_is_created_without_what_comes_later() {
        let identity = v1::IdentityColumn {
            sequence_schema: "s".into(),
            sequence_name: "q".into(),
            ..Default::default()
        };
        let columns = vec![
            not_null(v1::Column { identity: Some(identity), ..column("ID", "bigint") }),
            v1::Column { default_expression: "'x'".into(), ..column("order", "text") },
            v1::Column { collation: "pg_catalog.\"C\"".into(), ..column("c", "character varying(3)") },
            generated(column("twice", "bigint"), "(\"ID\" * 2)"),
        ];
        let mut table = table("T.1", columns);
        table.constraints.push(v1::Constraint::default());
        assert_eq!(
            create(&table, &[]),
            r#"CREATE TABLE "s"."T.1" (
    "ID" bigint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME "s"."q") NOT NULL,
    "order" text,
    "c" character varying(3) COLLATE pg_catalog."C",
    "twice" bigint GENERATED ALWAYS AS (("ID" * 2)) STORED
)"#
        );
    }

    #[test]
    fn a_table_without_columns_is_created() {
        assert_eq!(create(&table("t", vec![]), &[]), r#"CREATE TABLE "s"."t" ()"#);
    }

    #[test]
    fn a_child_lists_only_its_own_columns() {
        let parent = table(
            "p",
            vec![
                not_null(column("a", "int")),
                column("b", "int"),
                generated(column("g", "int"), "1"),
                generated(column("h", "int"), "1"),
            ],
        );
        let child = table(
            "c",
            vec![
                column("a", "int"),
                not_null(column("b", "int")),
                generated(column("g", "int"), "1"),
                generated(column("h", "int"), "2"),
                not_null(column("own", "int")),
            ],
        );
        assert_eq!(
            create(&child, &[&parent]),
            r#"CREATE TABLE "s"."c" (
    "h" int GENERATED ALWAYS AS (2) STORED,
    "own" int NOT NULL
) INHERITS ("s"."p");
ALTER TABLE ONLY "s"."c" ALTER COLUMN "a" DROP NOT NULL;
ALTER TABLE ONLY "s"."c" ALTER COLUMN "b" SET NOT NULL"#
        );
        assert_eq!(
            create(&table("d", vec![not_null(column("a", "int"))]), &[&parent, &child]),
            r#"CREATE TABLE "s"."d" () INHERITS ("s"."p", "s"."c")"#
        );
    }

    #[test]
    fn actions_and_indexes_are_rendered() {
        let table = table("t", vec![]);
        let constraint =
            v1::Constraint { name: "k".into(), definition: "PRIMARY KEY (a)".into(), ..Default::default() };
        let column = v1::Column { default_expression: "1 + 1".into(), ..column("a", "int") };
        let actions = [add_constraint(&constraint), set_default(&column)];
        assert_eq!(
            alter(&table, false, &actions),
            r#"ALTER TABLE ONLY "s"."t" ADD CONSTRAINT "k" PRIMARY KEY (a), ALTER COLUMN "a" SET DEFAULT 1 + 1"#
        );
        assert!(alter(&table, true, &actions).starts_with(r#"ALTER TABLE "s"."t" ADD"#));
        let index = v1::Index {
            name: "i \"x\"".into(),
            unique: true,
            definition_tail: "USING btree (a) WHERE (a > 0)".into(),
            ..Default::default()
        };
        assert_eq!(
            create_index(&table, &index),
            r#"CREATE UNIQUE INDEX "i ""x""" ON "s"."t" USING btree (a) WHERE (a > 0)"#
        );
    }
}
