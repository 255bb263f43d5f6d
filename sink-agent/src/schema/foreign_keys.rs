//! Foreign keys, in two steps: added without a look at the rows, which takes a moment, and validated later,
//! which lets reads and writes go on.

use strait_postgres::{Client, Error, quote};
use strait_proto::v1;

use super::comments;

/// The foreign key of that name on that table, if there is one.
const STATE_SQL: &str = "
SELECT c.convalidated
FROM pg_constraint AS c
     JOIN pg_class AS t
       ON t.oid = c.conrelid
     JOIN pg_namespace AS n
       ON n.oid = t.relnamespace
WHERE n.nspname = $1 AND t.relname = $2 AND c.conname = $3 AND c.contype = 'f'";

/// One foreign key to add at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    /// The referencing table.
    pub(crate) table: v1::TableName,
    /// The constraint's name.
    pub(crate) name: String,
    /// Adds it without checking the rows that are there.
    pub(crate) add_sql: String,
    /// Checks them. None: it is not validated at the source either.
    pub(crate) validate_sql: Option<String>,
}

impl ForeignKey {
    /// What became of it.
    pub(crate) fn result(
        &self,
        outcome: v1::ObjectOutcome,
        detail: &str,
        statement: &str,
    ) -> v1::ObjectResult {
        let name = format!("{}.{}", self.table.name, self.name);
        let result = v1::ObjectResult::new("constraint", &*self.table.schema, name, outcome).because(detail);
        v1::ObjectResult { statement: statement.to_owned(), ..result }
    }
}

/// How far a foreign key is at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForeignKeyState {
    /// It is not there.
    Absent,
    /// It holds for new rows only.
    Added,
    /// It holds for all rows.
    Validated,
}

/// Every foreign key of the model.
pub(crate) fn foreign_keys(model: &v1::SchemaModel) -> Vec<ForeignKey> {
    let constraints =
        model.tables.iter().flat_map(|table| table.constraints.iter().map(move |it| (table, it)));
    constraints
        .filter(|(_, constraint)| constraint.kind() == v1::ConstraintKind::ForeignKey)
        .map(|(table, constraint)| {
            let mut key = foreign_key(table, constraint);
            if let Some(comment) = comments::of_constraint(model, table, &constraint.name) {
                key.add_sql.push_str(&format!(";\n{comment}"));
            }
            key
        })
        .collect()
}

/// Whether the foreign key was added and validated before.
pub(crate) async fn foreign_key_state(client: &Client, key: &ForeignKey) -> Result<ForeignKeyState, Error> {
    let row = client.query_opt(STATE_SQL, &[&key.table.schema, &key.table.name, &key.name]).await?;
    Ok(match row.map(|row| row.try_get(0)).transpose()? {
        None => ForeignKeyState::Absent,
        Some(false) => ForeignKeyState::Added,
        Some(true) => ForeignKeyState::Validated,
    })
}

fn foreign_key(table: &v1::Table, constraint: &v1::Constraint) -> ForeignKey {
    let (table_name, name) =
        (quote::qualified(&table.schema, &table.name), quote::identifier(&constraint.name));
    let definition = &constraint.definition;
    // The server prints what keeps a key from being checked last (PostgreSQL, pg_get_constraintdef).
    let unchecked = [" NOT VALID", " NOT ENFORCED"].iter().any(|suffix| definition.ends_with(suffix))
        // Before 18 a partitioned table takes none that is not checked at once.
        || table.is_structure();
    let not_valid = if unchecked { "" } else { " NOT VALID" };
    ForeignKey {
        table: table.table_name(),
        name: constraint.name.clone(),
        add_sql: format!("ALTER TABLE {table_name} ADD CONSTRAINT {name} {definition}{not_valid}"),
        validate_sql: (!unchecked).then(|| format!("ALTER TABLE {table_name} VALIDATE CONSTRAINT {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_unchecked_and_validated_where_the_source_has_them_valid() {
        let add = r#"ALTER TABLE "s"."t" ADD CONSTRAINT "K" FOREIGN KEY (a) REFERENCES s.o(b)"#;
        let validate = r#"ALTER TABLE "s"."t" VALIDATE CONSTRAINT "K""#;
        for (suffix, added, validated) in [
            ("", " NOT VALID", Some(validate)),
            (" ON DELETE CASCADE", " ON DELETE CASCADE NOT VALID", Some(validate)),
            (" DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE INITIALLY DEFERRED NOT VALID", Some(validate)),
            (" DEFERRABLE NOT VALID", " DEFERRABLE NOT VALID", None),
            (" NOT ENFORCED", " NOT ENFORCED", None),
        ] {
            let key = v1::Constraint {
                name: "K".into(),
                kind: v1::ConstraintKind::ForeignKey.into(),
                definition: format!("FOREIGN KEY (a) REFERENCES s.o(b){suffix}"),
                ..Default::default()
            };
            let check = v1::Constraint { kind: v1::ConstraintKind::Check.into(), ..Default::default() };
            let table = v1::Table {
                schema: "s".into(),
                name: "t".into(),
                constraints: vec![check, key],
                ..Default::default()
            };
            let keys = foreign_keys(&v1::SchemaModel { tables: vec![table], ..Default::default() });
            let [key] = &keys[..] else { panic!("one key expected: {keys:?}") };
            assert_eq!(key.add_sql, format!("{add}{added}"));
            assert_eq!(key.validate_sql.as_deref(), validated);
        }
    }
}
