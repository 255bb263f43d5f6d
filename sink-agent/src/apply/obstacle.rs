//! Rows of the destination that stand in the way of a change by an index that the statements cannot name: a
//! unique index of some rows or over expressions, an exclusion constraint.
//!
//! The index' own expressions and predicate are evaluated on the row as it would be, and on the rows that are
//! there. Where that cannot be done (an expression uses a column that the source does not send), nothing is
//! removed and the refusal stands.

use strait_postgres::ServerError;
use strait_postgres::quote::qualified;
use tokio_postgres::types::{ToSql, Type};

use super::array::{Parameter, TextValue};
use super::change::{Change, ChangeKind};
use super::connection::Connection;
use super::relation::LookupBy;
use super::sql::{Form, matches};
use super::statements::{known_columns, row_json, values};
use crate::error::{Context as _, Error};

const UNIQUE_VIOLATION: &str = "23505";
const EXCLUSION_VIOLATION: &str = "23P01";

const LOOK: &str = "SAVEPOINT obstacle";
const LOOK_DONE: &str = "RELEASE SAVEPOINT obstacle";
const LOOK_UNDONE: &str = "ROLLBACK TO SAVEPOINT obstacle; RELEASE SAVEPOINT obstacle";

/// Of an index, by its table and name: each key column's expression and operator, and the predicate. The operator
/// is the exclusion constraint's, or else the equality of the column's class (btree strategy 3).
const INDEX_SQL: &str =
    "SELECT array_agg(pg_get_indexdef(i.indexrelid, k.place::integer, false) ORDER BY k.place),
       array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY k.place),
       coalesce(pg_get_expr(i.indpred, i.indrelid), 'true')
  FROM pg_index AS i
       JOIN pg_class AS c ON c.oid = i.indexrelid AND c.relname = $2
       CROSS JOIN LATERAL unnest(i.indclass::oid[]) WITH ORDINALITY AS k (opclass, place)
       LEFT JOIN pg_constraint AS x ON x.conindid = i.indexrelid AND x.contype = 'x'
       JOIN pg_opclass AS p ON p.oid = k.opclass
       LEFT JOIN pg_amop AS q
           ON q.amopfamily = p.opcfamily AND q.amopstrategy = 3
          AND q.amoplefttype = p.opcintype AND q.amoprighttype = p.opcintype
       JOIN pg_operator AS o ON o.oid = coalesce(x.conexclop[k.place], q.amopopr)
       JOIN pg_namespace AS s ON s.oid = o.oprnamespace
 WHERE i.indrelid = to_regclass($1) AND k.place <= i.indnkeyatts
 GROUP BY i.indexrelid, i.indpred, i.indrelid, i.indnkeyatts
HAVING count(*) = i.indnkeyatts";

/// Within a transaction: removes the rows that `refusal` is about and returns them as JSON, as far as they are
/// kept. None where there are none, or where it is not certain which they are.
pub(super) async fn remove(
    connection: &mut Connection,
    change: &Change,
    refusal: &ServerError,
) -> Result<Vec<String>, Error> {
    const DOING: &str = "remove what is in the way of a row";
    let (true, Some(name)) =
        (matches!(refusal.code.code(), UNIQUE_VIOLATION | EXCLUSION_VIOLATION), &refusal.constraint)
    else {
        return Ok(Vec::new());
    };
    let client = connection.client();
    client.batch_execute(LOOK).await.context(DOING)?;
    let removed = match attempt(connection, change, name).await {
        Ok(removed) => {
            connection.client().batch_execute(LOOK_DONE).await.context(DOING)?;
            removed
        }
        Err(error) => {
            let error = Error::database(DOING, error);
            if error.sqlstate().is_none() {
                return Err(error);
            }
            // Whatever the server says about the expressions, the refusal says what a person needs to know.
            tracing::debug!(cause = error.failure().cause, "what is in the way cannot be determined");
            connection.client().batch_execute(LOOK_UNDONE).await.context(DOING)?;
            Vec::new()
        }
    };
    Ok(removed)
}

async fn attempt(
    connection: &mut Connection,
    change: &Change,
    index: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let target = &change.relation.target;
    let table = qualified(&target.name.schema, &target.name.name);
    let key = [(&table as &(dyn ToSql + Sync), Type::TEXT), (&index as _, Type::TEXT)];
    let Some(row) = connection.client().query_typed_opt(INDEX_SQL, &key).await? else {
        return Ok(Vec::new());
    };
    let keys: Vec<(String, String)> =
        row.try_get::<_, Vec<String>>(0)?.into_iter().zip(row.try_get::<_, Vec<String>>(1)?).collect();
    let Some((text, parameters)) = statement(change, &keys, row.try_get(2)?) else {
        return Ok(Vec::new());
    };
    let statement = connection.client().prepare(&text).await?;
    let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(Parameter::as_sql).collect();
    let rows = connection.client().query(&statement, &parameters).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// `DELETE` of the rows `t` other than the changed one whose keys meet those of `n`, the row as it would be.
/// Column names within the expressions are those of one row at a time, by a subquery each.
fn statement(
    change: &Change,
    keys: &[(String, String)],
    predicate: &str,
) -> Option<(String, Vec<Parameter>)> {
    let relation = &change.relation;
    let (target, lookup) = (&relation.target, &relation.lookup);
    let (new, is_update) = match &change.kind {
        ChangeKind::Insert { new } => (new, false),
        ChangeKind::Update { new, .. } => (new, true),
        ChangeKind::Delete { .. } => return None,
    };
    let own_columns: &[usize] = if is_update || lookup.by == LookupBy::Index { &lookup.columns } else { &[] };
    let known = known_columns(relation, new);
    let mut columns = Vec::new();
    for (place, column) in target.columns.iter().enumerate() {
        let value = match known.iter().position(|known| *known == place) {
            Some(number) => Form::One.value(own_columns.len() + 1 + number, target, place),
            None if is_update && !column.generated => format!("o.{}", column.sql_name),
            None => continue,
        };
        columns.push(format!("{value} AS {}", column.sql_name));
    }
    let only = target.only();
    let (own, from) = match own_columns {
        [] => (String::new(), String::new()),
        _ => (
            format!(" AND NOT ({})", matches(target, lookup, "t", 1, Form::One)),
            format!(" FROM {only} AS o WHERE {}", matches(target, lookup, "o", 1, Form::One)),
        ),
    };
    let from = if is_update { from } else { String::new() };
    let wanted = keys.iter().enumerate().map(|(place, (key, _))| format!("{key} AS k{place}"));
    let wanted: Vec<String> = wanted.collect();
    let met = keys.iter().enumerate().map(|(place, (key, operator))| {
        format!(" AND (SELECT {key} FROM (SELECT t.*) AS x) {operator} w.k{place}")
    });
    let text = format!(
        "DELETE FROM {only} AS t USING (SELECT {}, ({predicate}) AS applies FROM (SELECT {}{from}) AS n) AS w \
         WHERE w.applies AND (SELECT ({predicate}) FROM (SELECT t.*) AS x){}{own} RETURNING {}",
        wanted.join(", "),
        columns.join(", "),
        met.collect::<String>(),
        row_json("t"),
    );
    let found_by = values(relation, change.found_by(), own_columns);
    let parameters = found_by.into_iter().chain(values(relation, new, &known));
    Some((text, parameters.map(|value| Parameter::Text(TextValue(value))).collect()))
}

#[cfg(test)]
mod tests {
    use strait_proto::Lsn;

    use super::super::relation::tests::keyed;
    use super::super::tuple::tests::tuple;
    use super::*;

    #[test]
    fn expressions_see_one_row_at_a_time() {
        let kind = ChangeKind::Insert { new: tuple(&[Some("1"), Some("A")]) };
        let change = Change { relation: keyed(), kind, commit_lsn: Lsn(1) };
        let keys = [("lower(name)".to_owned(), "OPERATOR(pg_catalog.=)".to_owned())];
        let (text, parameters) = statement(&change, &keys, "id > 0").unwrap();
        assert_eq!(
            text,
            "DELETE FROM ONLY \"public\".\"t\" AS t USING (SELECT lower(name) AS k0, (id > 0) AS applies \
             FROM (SELECT $2::text::integer AS \"id\", $3::text AS \"name\") AS n) AS w \
             WHERE w.applies AND (SELECT (id > 0) FROM (SELECT t.*) AS x) \
             AND (SELECT lower(name) FROM (SELECT t.*) AS x) OPERATOR(pg_catalog.=) w.k0 \
             AND NOT (t.\"id\" OPERATOR(pg_catalog.=) $1::text::integer) \
             RETURNING left(to_jsonb(t.*)::text, 8193)"
        );
        assert_eq!(parameters.len(), 3);
    }
}
