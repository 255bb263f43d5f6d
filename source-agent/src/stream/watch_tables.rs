//! Tables that are renamed or dropped at the source while their changes flow: none of that stops the stream, and each is
//! told of.

use std::collections::HashMap;

use strait_postgres::Client;
use strait_proto::v1::{CopyPhase, TableIssue, TableIssueKind, TableName, TableState};

use super::marks::TableMarks;
use crate::error::{During, RunError};
use crate::mapping::Mapping;
use crate::reporter::Reporter;

/// The tables of the task, as the destination calls them.
#[derive(Debug)]
pub(super) struct TableWatch<'a> {
    mapping: &'a Mapping,
    tables: Vec<(u32, TableName)>,
}

impl<'a> TableWatch<'a> {
    /// Watches what is not suspended: that alone says more about a table. `drops`: partitions go at the destination too.
    pub(super) fn new(states: &[TableState], mapping: &'a Mapping, drops: bool) -> Self {
        let tables = states.iter().filter(|state| state.phase() != CopyPhase::Suspended);
        let tables = tables.filter(|state| !(drops && state.partition_of.is_some()));
        let tables = tables.filter_map(|state| Some((state.table_id, state.table.clone()?))).collect();
        Self { mapping, tables }
    }

    /// Compares with the catalog, and marks what differs.
    pub(super) async fn look(
        &self,
        client: &Client,
        marks: &TableMarks,
        reporter: &Reporter,
    ) -> Result<(), RunError> {
        const DOING: &str = "look for tables that were renamed or dropped";
        const SQL: &str = "
            SELECT c.oid, n.nspname, c.relname
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = ANY ($1::oid[])";
        let oids: Vec<u32> = self.tables.iter().map(|(table_id, _)| *table_id).collect();
        let mut present = HashMap::new();
        for row in client.query(SQL, &[&oids]).await.during(DOING)? {
            let name = TableName::new(
                row.try_get::<_, String>("nspname").during(DOING)?,
                row.try_get::<_, String>("relname").during(DOING)?,
            );
            present.insert(row.try_get::<_, u32>("oid").during(DOING)?, name);
        }
        for (table_id, name) in &self.tables {
            match self.issue(name, present.get(table_id)) {
                None => marks.clear(name),
                Some(issue) => {
                    marks.mark(&issue);
                    reporter.notice_once(format!("table {name}: {}", issue.reason)).await;
                }
            }
        }
        Ok(())
    }

    fn issue(&self, name: &TableName, present: Option<&TableName>) -> Option<TableIssue> {
        let leads_there = present.is_some_and(|present| self.mapping.target(present) == *name);
        if leads_there { None } else { issue(name, present) }
    }
}

/// What is to be told about a table that the destination calls `name` and the source `present`.
fn issue(name: &TableName, present: Option<&TableName>) -> Option<TableIssue> {
    let (kind, reason, remedy) = match present {
        Some(present) if present == name => return None,
        Some(present) => (
            TableIssueKind::Renamed,
            format!(
                "it is called {present} at the source now; its changes go on under the destination's name"
            ),
            "",
        ),
        None => (
            TableIssueKind::Dropped,
            "it was dropped at the source; it stays at the destination as it is".to_owned(),
            "A table of the same name that was made since is another one: it joins once this one is dropped or renamed there.",
        ),
    };
    Some(TableIssue { table: Some(name.clone()), kind: kind.into(), reason, remedy: remedy.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_and_dropped_tables_are_told_apart() {
        let (a, b) = (TableName::new("public", "a"), TableName::new("public", "b"));
        assert_eq!(issue(&a, Some(&a)), None);
        let renamed = issue(&a, Some(&b)).unwrap();
        assert_eq!((renamed.kind(), renamed.table.as_ref()), (TableIssueKind::Renamed, Some(&a)));
        assert!(renamed.reason.contains("public.b"), "{renamed:?}");
        assert_eq!(issue(&a, None).unwrap().kind(), TableIssueKind::Dropped);
    }
}
