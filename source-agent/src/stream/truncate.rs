//! TRUNCATE, leaf by leaf.
//!
//! A truncated root arrives as all of its leaves, a truncated leaf as itself. The destination has one table for all of
//! them, so only the former empties it; the latter deletes what lies within the leaf's bounds. Taking one for the other
//! loses rows.

use std::collections::{BTreeMap, BTreeSet};

use strait_proto::{Lsn, v1};

use super::tables::{SyncedTable, TableSet};
use crate::error::RunError;

/// What a TRUNCATE means at the destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mapped {
    /// Empty where none of the task's tables is meant.
    pub(super) relations: Vec<v1::TruncatedRelation>,
    /// Tables and leaves whose bounds are used.
    pub(super) bounded: Vec<(u32, u32)>,
}

/// Maps the relations of one TRUNCATE in a transaction that committed at `commit_lsn`.
pub(super) fn map(relation_ids: &[u32], tables: &TableSet, commit_lsn: Lsn) -> Result<Mapped, RunError> {
    let mut truncated: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for relation_id in relation_ids {
        match tables.of_relation(*relation_id) {
            Some(table) if commit_lsn >= table.begin_lsn && table.operations.truncate => {
                truncated.entry(table.table_id).or_default().insert(*relation_id);
            }
            _ => {}
        }
    }
    let mut mapped = Mapped::default();
    for (table_id, relations) in truncated {
        let Some(table) = tables.of_relation(table_id) else {
            continue;
        };
        if table.leaves.iter().all(|leaf| relations.contains(&leaf.relation_id)) {
            mapped.relations.push(v1::TruncatedRelation { table_id, condition: String::new() });
        } else {
            by_bounds(table, &relations, &mut mapped)?;
        }
    }
    Ok(mapped)
}

fn by_bounds(table: &SyncedTable, relations: &BTreeSet<u32>, mapped: &mut Mapped) -> Result<(), RunError> {
    let table_id = table.table_id;
    for leaf in table.leaves.iter().filter(|leaf| relations.contains(&leaf.relation_id)) {
        if leaf.bounds.is_empty() {
            return Err(uncertain(table_id, &leaf.schema, &leaf.name));
        }
        let condition = match &table.map {
            Some(map) => {
                map.expression(&leaf.bounds).map_err(|_| uncertain(table_id, &leaf.schema, &leaf.name))?
            }
            None => leaf.bounds.clone(),
        };
        mapped.relations.push(v1::TruncatedRelation { table_id, condition });
        mapped.bounded.push((table_id, leaf.relation_id));
    }
    Ok(())
}

/// A leaf was truncated alone, and which of the destination's rows that means cannot be said.
pub(super) fn uncertain(table_id: u32, schema: &str, name: &str) -> RunError {
    let reason = format!(
        "partition {schema}.{name} was truncated alone: the destination has one table for all partitions, and the rows of a \
         hash partition, or of a default partition beside which others came or went, cannot be told apart there"
    );
    RunError::BeginOver { table_id, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::record::LeafRecord;

    fn leaf(relation_id: u32, bounds: &str) -> LeafRecord {
        LeafRecord {
            relation_id,
            schema: "s".into(),
            name: format!("leaf{relation_id}"),
            bounds: bounds.into(),
            attached_by: String::new(),
            gone: false,
        }
    }

    use crate::choices::Operations;

    fn table(table_id: u32, begin: u64, leaves: Vec<LeafRecord>) -> SyncedTable {
        let (begin_lsn, operations) = (Lsn(begin), Operations::ALL);
        SyncedTable { table_id, name: None, map: None, begin_lsn, leaves, operations }
    }

    fn tables() -> TableSet {
        TableSet::new([
            table(1, 100, vec![]),
            table(2, 200, vec![]),
            table(10, 100, vec![leaf(11, "a < 5"), leaf(12, "a >= 5")]),
            table(20, 100, vec![leaf(21, ""), leaf(22, "")]),
            table(30, 100, vec![leaf(31, "b = 1"), LeafRecord { gone: true, ..leaf(32, "b = 2") }]),
        ])
    }

    #[test]
    fn a_table_is_emptied_only_if_all_of_it_was() {
        type Expected<'a> = &'a [(u32, &'a str)];
        let cases: [(&[u32], u64, Expected<'_>); 12] = [
            (&[1], 100, &[(1, "")]),
            (&[1, 2], 300, &[(1, ""), (2, "")]),
            (&[1, 2], 150, &[(1, "")]),
            (&[2], 199, &[]),
            (&[99], 300, &[]),
            (&[11, 12], 300, &[(10, "")]),
            (&[12, 1, 11], 300, &[(1, ""), (10, "")]),
            (&[12], 300, &[(10, "a >= 5")]),
            (&[11, 99], 300, &[(10, "a < 5")]),
            (&[21, 22], 300, &[(20, "")]),
            (&[31], 300, &[(30, "b = 1")]),
            (&[11], 99, &[]),
        ];
        for (relations, commit, expected) in cases {
            let mapped = map(relations, &tables(), Lsn(commit)).unwrap();
            let found: Vec<_> = mapped.relations.iter().map(|it| (it.table_id, &*it.condition)).collect();
            assert_eq!(found, expected, "{relations:?} at {commit}");
        }
    }

    #[test]
    fn bounds_that_are_used_are_told() {
        let mapped = map(&[12, 1], &tables(), Lsn(300)).unwrap();
        assert_eq!(mapped.bounded, [(10, 12)]);
        assert_eq!(map(&[11, 12], &tables(), Lsn(300)).unwrap().bounded, []);
    }

    #[test]
    fn a_hash_partition_alone_makes_its_table_begin_over() {
        let error = map(&[21], &tables(), Lsn(300)).unwrap_err();
        assert!(matches!(error, RunError::BeginOver { table_id: 20, .. }), "{error:?}");
        assert!(error.to_string().contains("s.leaf21"), "{error}");
    }
}
