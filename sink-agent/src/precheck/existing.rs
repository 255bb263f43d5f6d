//! Tables that stand at the destination already, where the task is to use them: whether they take what the source sends.

use std::collections::{BTreeMap, BTreeSet};

use strait_postgres::quote::qualified;
use strait_proto::v1::{self, TableName};
use tokio_postgres::types::Type;

use super::Checks;
use super::checks::shown;
use super::item::{Checked, failed, fine, warning};
use crate::error::Context as _;
use crate::store;

/// $1, $2: schemas and names. Every column of those tables; one line without a column for what is no table.
const COLUMNS_SQL: &str = "
SELECT n.schema_name, n.table_name, c.relkind IN ('r', 'p'), coalesce(a.attname::text, ''),
       coalesce(format_type(a.atttypid, a.atttypmod), ''),
       coalesce(a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', false),
       coalesce(a.attgenerated <> '', false), c.relkind = 'p'
  FROM unnest($1::text[], $2::text[]) AS n (schema_name, table_name)
       JOIN pg_namespace AS s ON s.nspname = n.schema_name
       JOIN pg_class AS c ON c.relnamespace = s.oid AND c.relname = n.table_name
       LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped";

/// The same tables: whether an immediate unique index of all rows finds them, and whether a deferrable one is in the way.
const KEYS_SQL: &str = "
SELECT n.schema_name, n.table_name,
       coalesce(bool_or(i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL), false),
       coalesce(bool_or(i.indisunique AND NOT i.indimmediate), false)
  FROM unnest($1::text[], $2::text[]) AS n (schema_name, table_name)
       JOIN pg_namespace AS s ON s.nspname = n.schema_name
       JOIN pg_class AS c ON c.relnamespace = s.oid AND c.relname = n.table_name
       LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisvalid
 GROUP BY 1, 2";

/// A table as the destination has it.
#[derive(Debug, Default)]
struct Standing {
    is_table: bool,
    is_partitioned: bool,
    columns: BTreeMap<String, StandingColumn>,
    has_key: bool,
    has_deferrable_key: bool,
}

#[derive(Debug, Default)]
struct StandingColumn {
    type_name: String,
    /// NOT NULL, and nothing fills it where a row does not.
    has_to_be_given: bool,
    generated: bool,
}

/// What keeps tables from being used, and what a person should know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    obstacles: Vec<String>,
    remarks: Vec<String>,
}

impl Checks<'_> {
    /// Of a task that uses the tables that stand.
    pub(super) async fn existing_tables(&self, creates: bool, copies: bool) -> Checked {
        let standing = self.standing().await?;
        let created = match store::layout_version(self.client).await? {
            Some(_) => store::created_tables(self.client, self.task_id).await?,
            None => Default::default(),
        };
        let mut findings = Findings::default();
        let (mut used, mut missing) = (0, Vec::new());
        for source in &self.source.structures {
            let name = source.table.clone().unwrap_or_default();
            match standing.get(&(name.schema.clone(), name.name.clone())) {
                None => missing.push(name),
                Some(_) if created.contains(&name) => {}
                Some(table) => {
                    used += 1;
                    compare(&name, source, table, copies, &mut findings);
                }
            }
        }
        if !creates && !missing.is_empty() {
            let names = shown(missing.iter().map(TableName::to_string));
            findings
                .obstacles
                .push(format!("`synchronize` leaves schema out, and these tables are not there: {names}"));
        }
        let detail = format!("{used} of {} tables exist already and are used", self.source.structures.len());
        let Findings { obstacles, remarks } = findings;
        if !obstacles.is_empty() {
            return failed(
                detail,
                shown(obstacles.into_iter().chain(remarks).collect::<Vec<_>>().into_iter()),
                "Change these tables at the destination, or exclude them from the task.",
            );
        }
        if !remarks.is_empty() {
            return warning(detail, shown(remarks.into_iter()), "Nothing, where that is what you want.");
        }
        fine(detail)
    }

    async fn standing(&self) -> Result<BTreeMap<(String, String), Standing>, crate::error::Error> {
        const DOING: &str = "look at the tables that exist";
        let tables: Vec<&TableName> =
            self.source.structures.iter().filter_map(|source| source.table.as_ref()).collect();
        let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let given = [(&schemas as _, Type::TEXT_ARRAY), (&names as _, Type::TEXT_ARRAY)];
        let mut standing: BTreeMap<(String, String), Standing> = BTreeMap::new();
        for row in self.client.query_typed(COLUMNS_SQL, &given).await.context(DOING)? {
            let table = standing.entry((row.get(0), row.get(1))).or_default();
            (table.is_table, table.is_partitioned) = (row.get(2), row.get(7));
            let name: String = row.get(3);
            if !name.is_empty() {
                let (type_name, has_to_be_given, generated) = (row.get(4), row.get(5), row.get(6));
                table.columns.insert(name, StandingColumn { type_name, has_to_be_given, generated });
            }
        }
        for row in self.client.query_typed(KEYS_SQL, &given).await.context(DOING)? {
            if let Some(table) = standing.get_mut(&(row.get(0), row.get(1))) {
                (table.has_key, table.has_deferrable_key) = (row.get(2), row.get(3));
            }
        }
        Ok(standing)
    }
}

fn compare(
    name: &TableName,
    source: &v1::SourceTable,
    table: &Standing,
    copies: bool,
    findings: &mut Findings,
) {
    let quoted = qualified(&name.schema, &name.name);
    if !table.is_table {
        return findings.obstacles.push(format!("{quoted} is not a table"));
    }
    if source.partitioned && !table.is_partitioned {
        let cause = "is not partitioned there, and partitions: preserve brings rows into partitions alone";
        findings.obstacles.push(format!("{quoted} {cause}"));
    }
    let sent: BTreeSet<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
    for column in &source.columns {
        match table.columns.get(&column.name) {
            None => findings.obstacles.push(format!("{quoted} has no column {:?}", column.name)),
            Some(standing) if standing.generated => findings.remarks.push(format!(
                "{quoted}: column {:?} is generated there, so what the source has in it is not carried",
                column.name
            )),
            Some(standing) if standing.type_name != column.type_name => findings.remarks.push(format!(
                "{quoted}: column {:?} is {} there and {} at the source",
                column.name, standing.type_name, column.type_name
            )),
            Some(_) => {}
        }
    }
    let unfilled =
        table.columns.iter().filter(|(name, column)| column.has_to_be_given && !sent.contains(name.as_str()));
    for (column, _) in unfilled {
        findings.obstacles.push(format!("{quoted}: nothing fills column {column:?}, which is NOT NULL"));
    }
    if copies && table.has_deferrable_key {
        findings
            .obstacles
            .push(format!("{quoted} has a deferrable unique constraint, beside which rows cannot be merged"));
    }
    if source.partitioned {
        return;
    }
    if source.has_key && !table.has_key {
        findings.remarks.push(format!(
            "{quoted} has no primary or unique key: copied rows are added to those that it has, and each change looks \
             through the whole table"
        ));
    } else if copies && !table.has_key {
        findings.remarks.push(format!("{quoted} has no key: copied rows are added to those that it has"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(columns: &[(&str, &str, bool)], has_key: bool) -> Standing {
        let column = |(name, type_name, has_to_be_given): &(&str, &str, bool)| {
            let type_name = (*type_name).to_owned();
            (
                (*name).to_owned(),
                StandingColumn { type_name, has_to_be_given: *has_to_be_given, generated: false },
            )
        };
        Standing {
            is_table: true,
            columns: columns.iter().map(column).collect(),
            has_key,
            ..Default::default()
        }
    }

    #[test]
    fn what_a_standing_table_cannot_take_is_named() {
        let column = |name: &str| v1::SourceColumn { name: name.into(), type_name: "integer".into() };
        let source =
            v1::SourceTable { columns: vec![column("a"), column("b")], has_key: true, ..Default::default() };
        let check = |table: Standing| {
            let mut findings = Findings::default();
            compare(&TableName::new("s", "t"), &source, &table, true, &mut findings);
            (findings.obstacles.join("; "), findings.remarks.join("; "))
        };
        let equal = [("a", "integer", true), ("b", "integer", false)];
        assert_eq!(check(standing(&equal, true)), (String::new(), String::new()));
        let wider = [("a", "integer", true), ("b", "bigint", false), ("c", "text", false)];
        let (obstacles, remarks) = check(standing(&wider, true));
        assert_eq!(
            (&*obstacles, &*remarks),
            ("", r#""s"."t": column "b" is bigint there and integer at the source"#)
        );
        let unfit = [("a", "integer", true), ("c", "text", true)];
        let (obstacles, remarks) = check(standing(&unfit, false));
        assert_eq!(
            obstacles,
            r#""s"."t" has no column "b"; "s"."t": nothing fills column "c", which is NOT NULL"#
        );
        assert!(remarks.starts_with(r#""s"."t" has no primary or unique key"#), "{remarks}");
    }
}
