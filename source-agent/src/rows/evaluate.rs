//! Has the source evaluate a condition on rows that are not in a table: those of the change stream.
//!
//! The values come as text, as the output plugin wrote them, and are read back as the column's type with its collation; so the
//! condition sees what it would see in the table. Only the columns that it may use are sent.

use strait_postgres::{Client, quote};
use strait_proto::v1::TableName;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::filter::{Filter, POSITION, ROW_ALIAS, not_evaluated};
use super::transition::RuledRelation;
use crate::error::{During, RunError};

/// A condition, prepared for a relation as it looks at present.
pub(super) struct Evaluator {
    statement: Statement,
    doing: String,
}

/// The values of the columns that a condition may use, of one row.
pub(super) type Values = Vec<Option<String>>;

impl Evaluator {
    /// Prepares the relation's condition on a connection.
    pub(super) async fn prepare(
        client: &Client,
        relation: &RuledRelation,
        filter: &Filter,
    ) -> Result<Self, RunError> {
        let doing = format!("evaluate the condition (`where`) of {}", relation.table);
        let columns = column_types(client, relation).await.during(&*doing)?;
        let sql = sql(filter, &columns);
        let statement = client.prepare(&sql).await.during(&*doing)?;
        Ok(Self { statement, doing })
    }

    /// For each row whether it matches; NULL does not.
    pub(super) async fn matches(
        &self,
        client: &Client,
        table: &TableName,
        rows: &[Values],
    ) -> Result<Vec<bool>, RunError> {
        let positions: Vec<i64> = (0..rows.len()).filter_map(|row| i64::try_from(row).ok()).collect();
        let width = rows.first().map_or(0, Vec::len);
        let columns: Vec<Vec<Option<&str>>> =
            (0..width).map(|column| rows.iter().map(|row| row[column].as_deref()).collect()).collect();
        let columns = columns.iter().map(|column| column as &(dyn ToSql + Sync));
        let parameters: Vec<&(dyn ToSql + Sync)> =
            std::iter::once(&positions as &(dyn ToSql + Sync)).chain(columns).collect();
        let found = client.query(&self.statement, &parameters).await.map_err(|error| {
            let told = error.code().and_then(|code| not_evaluated(table, code));
            told.unwrap_or_else(|| RunError::Source { doing: self.doing.clone(), source: error.into() })
        })?;
        let mut matches = vec![false; rows.len()];
        for row in found {
            let position: i64 = row.try_get(0).during(&*self.doing)?;
            if let Some(found) = usize::try_from(position).ok().and_then(|position| matches.get_mut(position))
            {
                *found = true;
            }
        }
        Ok(matches)
    }
}

/// Name, and type with collation, of each column that the condition may use.
async fn column_types(
    client: &Client,
    relation: &RuledRelation,
) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    // The output plugin does not tell collations. A column that is not there any more has its type's.
    const SQL: &str = "
        SELECT format_type(used.type_oid, used.type_modifier)
               || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, k.collname)
                            FROM pg_attribute AS a
                            JOIN pg_collation AS k ON k.oid = a.attcollation
                            JOIN pg_namespace AS n ON n.oid = k.collnamespace
                            WHERE a.attrelid = $1 AND a.attname = used.name AND a.atttypid = used.type_oid
                              AND NOT a.attisdropped), '') AS type
        FROM unnest($2::text[], $3::oid[], $4::int4[]) WITH ORDINALITY AS used(name, type_oid, type_modifier, position)
        ORDER BY position";
    let used = || relation.used.iter().map(|position| &relation.columns[*position]);
    let names: Vec<&str> = used().map(|column| &*column.name).collect();
    let types: Vec<u32> = used().map(|column| column.type_oid).collect();
    let modifiers: Vec<i32> = used().map(|column| column.type_modifier).collect();
    let rows = client.query(SQL, &[&relation.relation_id, &names, &types, &modifiers]).await?;
    names.iter().zip(rows).map(|(name, row)| Ok(((*name).to_owned(), row.try_get("type")?))).collect()
}

/// Answers with the positions of the rows that match.
fn sql(filter: &Filter, columns: &[(String, String)]) -> String {
    let inputs = (0..columns.len()).map(|number| format!(", ${}::text[]", number + 2));
    let names = (0..columns.len()).map(|number| format!(", v{number}"));
    let values = columns
        .iter()
        .enumerate()
        .map(|(number, (name, typed))| format!(", v{number}::{typed} AS {}", quote::identifier(name)));
    format!(
        "SELECT {POSITION} FROM (
             SELECT {POSITION}{} FROM unnest($1::int8[]{}) AS input({POSITION}{})
         ) AS {ROW_ALIAS} WHERE {}",
        values.collect::<String>(),
        inputs.collect::<String>(),
        names.collect::<String>(),
        filter.sql()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_sees_typed_columns_and_nothing_else() {
        let columns = [("a \"b\"".to_owned(), "integer".to_owned())];
        let sql = sql(&Filter::new("\"a \"\"b\"\"\" > 0 -- why".into()), &columns);
        let flat: Vec<&str> = sql.split_whitespace().collect();
        assert_eq!(
            flat.join(" "),
            "SELECT strait_position FROM ( SELECT strait_position, v0::integer AS \"a \"\"b\"\"\" FROM \
             unnest($1::int8[], $2::text[]) AS input(strait_position, v0) ) AS strait_row WHERE ( \"a \"\"b\"\"\" > 0 -- why )"
        );
        assert!(sql.ends_with("-- why\n)"), "{sql}");
    }
}
