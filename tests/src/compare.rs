//! Whether two databases hold the same rows, found out without any of the product's code.
//!
//! A row is its text: `ROW(columns of the source, by name)::text`. Both sides therefore compare in the source's column
//! order, and columns that only the destination has do not count. First each side sums a hash over its rows, which is
//! cheap and independent of their order; only where the sums differ are the rows read and the first differences shown.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::database::Database;
use crate::wait::eventually;

/// Every table that holds rows of its own or is the root of partitions, as a quoted, qualified name; without what belongs
/// to the system, an extension or Strait.
pub async fn tables(database: &Database) -> Result<Vec<String>> {
    database
        .rows(
            "SELECT format('%I.%I', n.nspname, c.relname)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
               AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'strait') AND n.nspname NOT LIKE 'pg\\_%'
               AND NOT EXISTS (SELECT FROM pg_depend d
                               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
             ORDER BY 1",
        )
        .await
}

/// Fails unless every table of the source holds the same rows at the destination, now.
pub async fn assert_equal(source: &Database, destination: &Database) -> Result<()> {
    assert_tables_equal(source, destination, &tables(source).await?).await
}

/// The same for these tables alone.
pub async fn assert_tables_equal(source: &Database, destination: &Database, tables: &[String]) -> Result<()> {
    for table in tables {
        if let Some(difference) = difference(source, destination, table).await? {
            bail!("{table} differs:\n{difference}");
        }
    }
    Ok(())
}

/// Waits until every table of the source holds the same rows at the destination; the source must have come to rest.
pub async fn eventually_equal(source: &Database, destination: &Database, deadline: Duration) -> Result<()> {
    eventually_tables_equal(source, destination, &tables(source).await?, deadline).await
}

/// The same for these tables alone.
pub async fn eventually_tables_equal(
    source: &Database,
    destination: &Database,
    tables: &[String],
    deadline: Duration,
) -> Result<()> {
    let mut open = Vec::new();
    for table in tables {
        let columns = columns(source, table).await?;
        open.push((table, digest(source, table, &columns).await?, columns));
    }
    let waited = eventually("both sides hold the same rows", deadline, async || {
        while let Some((table, wanted, columns)) = open.last() {
            // Until the copy has created it, the table may be missing: as different as can be.
            if digest(destination, table, columns).await.ok().as_ref() != Some(wanted) {
                return Ok(None);
            }
            open.pop();
        }
        Ok(Some(()))
    })
    .await;
    match waited {
        Ok(()) => Ok(()),
        Err(error) => match assert_tables_equal(source, destination, tables).await {
            // They became equal at last: still too late.
            Ok(()) => Err(error),
            Err(difference) => Err(difference.context(error.to_string())),
        },
    }
}

async fn columns(database: &Database, table: &str) -> Result<String> {
    database
        .text(&format!(
            "SELECT coalesce(string_agg(quote_ident(attname), ', ' ORDER BY attnum), '')
             FROM pg_attribute WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped",
            table.replace('\'', "''")
        ))
        .await
}

/// Number of rows and the sum of their hashes.
async fn digest(database: &Database, table: &str, columns: &str) -> Result<String> {
    database
        .text(&format!(
            "SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0) FROM {table}"
        ))
        .await
}

/// How a table differs, or `None` where it does not.
pub async fn difference(source: &Database, destination: &Database, table: &str) -> Result<Option<String>> {
    const ROWS_READ_MAX: i64 = 1_000_000;
    let columns = columns(source, table).await?;
    let (ours, theirs) =
        tokio::try_join!(digest(source, table, &columns), digest(destination, table, &columns))?;
    if ours == theirs {
        return Ok(None);
    }
    let count = format!("SELECT count(*) FROM {table}");
    let (ours, theirs) = tokio::try_join!(source.number(&count), destination.number(&count))?;
    let mut report = format!("rows: {ours} at the source, {theirs} at the destination\n");
    if ours.max(theirs) <= ROWS_READ_MAX {
        let rows = format!("SELECT ROW({columns})::text COLLATE \"C\" FROM {table} ORDER BY 1");
        let (ours, theirs) = tokio::try_join!(source.rows(&rows), destination.rows(&rows))?;
        let (missing, surplus) = multiset_difference(&ours, &theirs);
        describe(&mut report, "missing at the destination", &missing);
        describe(&mut report, "only at the destination", &surplus);
    }
    Ok(Some(report))
}

/// What the one sorted list holds more often than the other, in both directions.
fn multiset_difference<'a>(ours: &'a [String], theirs: &'a [String]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut missing, mut surplus) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    while i < ours.len() || j < theirs.len() {
        let order = match (ours.get(i), theirs.get(j)) {
            (Some(a), Some(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        if order.is_lt() {
            missing.push(ours[i].as_str());
        } else if order.is_gt() {
            surplus.push(theirs[j].as_str());
        }
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
    (missing, surplus)
}

fn describe(report: &mut String, what: &str, rows: &[&str]) {
    const ROWS_SHOWN_MAX: usize = 8;
    const CHARACTERS_SHOWN_MAX: usize = 300;
    // Writing to a String cannot fail.
    writeln!(report, "{what}: {}", rows.len()).ok();
    for row in rows.iter().take(ROWS_SHOWN_MAX) {
        writeln!(report, "    {}", row.chars().take(CHARACTERS_SHOWN_MAX).collect::<String>()).ok();
    }
}

/// Fails unless a query answers the same on both sides.
pub async fn assert_same_answer(source: &Database, destination: &Database, sql: &str) -> Result<()> {
    let (ours, theirs) = tokio::try_join!(source.text(sql), destination.text(sql))?;
    ensure!(ours == theirs, "{sql}\nsource:\n{ours}\ndestination:\n{theirs}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_rows_that_one_side_holds_more_often() {
        let list = |rows: &[&str]| rows.iter().map(|&row| row.to_owned()).collect::<Vec<_>>();
        let (ours, theirs) = (list(&["a", "b", "b", "d"]), list(&["a", "b", "c"]));
        assert_eq!(multiset_difference(&ours, &theirs), (vec!["b", "d"], vec!["c"]));
    }
}
