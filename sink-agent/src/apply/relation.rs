//! A relation of the change stream, matched by column names to the table that takes its changes.
//!
//! Pure: what the catalogs say comes in as a [`Target`].

use std::sync::Arc;

use bytes::Bytes;
use strait_proto::v1::{RelationDefinition, ReplicaIdentity};

use super::target::{Distribution, Target, UniqueIndex};
use super::tuple::{Cell, Tuple};
use crate::error::Error;

/// Where a relation's values go, and by what its rows are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) table_id: u32,
    pub(crate) target: Arc<Target>,
    /// How many values a tuple has.
    pub(crate) column_count: usize,
    /// The target's columns that are written, ascending.
    pub(crate) written: Vec<usize>,
    /// For each of `written`, the position of its value in a tuple.
    pub(crate) positions: Vec<usize>,
    /// Those of `written` that the lookup does not use: what an update sets while the key stays.
    pub(crate) outside_key: Vec<usize>,
    pub(crate) lookup: Lookup,
    /// For each of the lookup's columns, the position of its value in a tuple.
    pub(crate) lookup_positions: Vec<usize>,
    /// Its rows have no key and the destination keeps values of its own beside them: which of several equal
    /// rows is changed matters then, so changes are made one by one in order.
    pub(crate) in_order: bool,
    pub(crate) identity: ReplicaIdentity,
}

/// By what a row that the source names is found at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) by: LookupBy,
    /// Positions in [`Target::columns`].
    pub(crate) columns: Vec<usize>,
    /// By index: the equality of each column.
    pub(crate) operators: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupBy {
    /// A unique index of the destination.
    Index,
    /// The columns identify the row at the source, no index does here: compared by the equality of their types, where the
    /// server has to look at all rows anyway (the Greenplum family).
    Columns,
    /// The same, compared as text.
    Text,
    /// No key: all columns compared as text, one of several equal rows at a time.
    WholeRow,
}

/// What identifies a row: equal bytes, same row.
pub(crate) type Key = Bytes;

impl Relation {
    /// Matches a definition to its table.
    ///
    /// # Errors
    /// A definite one when the table lacks a column.
    pub(crate) fn resolve(definition: &RelationDefinition, target: Arc<Target>) -> Result<Self, Error> {
        let mut places = Vec::new();
        let mut missing = Vec::new();
        for (position, column) in definition.columns.iter().enumerate() {
            match target.columns.iter().position(|candidate| candidate.name == column.name) {
                Some(place) if target.columns[place].generated => {}
                Some(place) => places.push((place, position)),
                None => missing.push(column.name.as_str()),
            }
        }
        if !missing.is_empty() {
            return Err(columns_missing(&target, &missing));
        }
        places.sort_unstable();
        let position_of =
            |place: usize| places.iter().find(|(candidate, _)| *candidate == place).map(|found| found.1);
        let identity = definition.replica_identity();
        let identity_columns: Vec<usize> = places
            .iter()
            .filter(|(_, position)| definition.columns[*position].key)
            .map(|(place, _)| *place)
            .collect();
        let lookup = choose_lookup(&target, identity, &identity_columns, &places);
        if lookup.by == LookupBy::WholeRow && target.distribution == Some(Distribution::Replicated) {
            return Err(copies_of_whole_rows(&target));
        }
        let lookup_positions = lookup.columns.iter().filter_map(|place| position_of(*place)).collect();
        let written: Vec<usize> = places.iter().map(|(place, _)| *place).collect();
        let writable = target.columns.iter().filter(|column| !column.generated).count();
        Ok(Self {
            table_id: definition.table_id,
            column_count: definition.columns.len(),
            in_order: lookup.by == LookupBy::WholeRow
                && identity != ReplicaIdentity::None
                && (places.len() < writable || !target.ordinary),
            outside_key: written.iter().copied().filter(|place| !lookup.columns.contains(place)).collect(),
            written,
            positions: places.iter().map(|(_, position)| *position).collect(),
            target,
            lookup,
            lookup_positions,
            identity,
        })
    }

    /// The key of a row, none where the relation has no key.
    ///
    /// # Errors
    /// When a value of the key is missing.
    pub(crate) fn key(&self, tuple: &Tuple) -> Result<Key, Error> {
        if let [position] = *self.lookup_positions {
            return match tuple.cell(position) {
                Cell::Text(content) => Ok(tuple.share(content)),
                Cell::Null | Cell::Unchanged => Err(self.key_incomplete()),
            };
        }
        let mut parts = vec![None; self.lookup_positions.len()];
        for (position, cell) in tuple.cells().enumerate() {
            if let (Cell::Text(content), Some(part)) = (cell, self.key_part(position)) {
                parts[part] = Some(content);
            }
        }
        let mut key = Vec::new();
        for part in parts {
            let content = part.ok_or_else(|| self.key_incomplete())?;
            key.extend_from_slice(&(content.len() as u64).to_be_bytes());
            key.extend_from_slice(content);
        }
        Ok(key.into())
    }

    /// The columns of the unique index by which an insert overwrites a row that is there; none where there is
    /// no such index, or where the row has to be taken out first because UPDATE cannot set all of it.
    pub(crate) fn overwrites_by(&self) -> Option<&[usize]> {
        (self.lookup.by == LookupBy::Index && !self.deletes_first()).then_some(&*self.lookup.columns)
    }

    /// An identity column outside the key, which only an INSERT can write: what an insert finds is deleted
    /// first.
    ///
    /// The same where the family has no unique index by which ON CONFLICT would find it.
    pub(crate) fn deletes_first(&self) -> bool {
        match self.lookup.by {
            LookupBy::WholeRow => false,
            LookupBy::Columns => true,
            LookupBy::Index | LookupBy::Text => {
                self.outside_key.iter().any(|column| self.target.columns[*column].identity_always)
            }
        }
    }

    /// Which part of the key the value at a position is.
    pub(crate) fn key_part(&self, position: usize) -> Option<usize> {
        self.lookup_positions.iter().position(|candidate| *candidate == position)
    }

    /// The position in a tuple of the value for one of the target's columns.
    pub(crate) fn position_of(&self, column: usize) -> Option<usize> {
        self.written.binary_search(&column).ok().map(|place| self.positions[place])
    }

    /// All values that are written, in the target's order: equal bytes, equal rows.
    pub(crate) fn row_bytes(&self, tuple: &Tuple) -> Vec<u8> {
        let cells: Vec<Cell<'_>> = tuple.cells().collect();
        let mut row = Vec::with_capacity(tuple.bytes_len());
        for position in &self.positions {
            match cells.get(*position) {
                Some(Cell::Text(content)) => {
                    row.push(1);
                    row.extend_from_slice(&(content.len() as u64).to_be_bytes());
                    row.extend_from_slice(content);
                }
                _ => row.push(0),
            }
        }
        row
    }

    fn key_incomplete(&self) -> Error {
        Error::protocol(format!("a change of table {} lacks a value of its key", self.target.name))
    }
}

/// The lookup of a relation: its own identity where it has one, else the best unique index, else the whole
/// row.
fn choose_lookup(
    target: &Target,
    identity: ReplicaIdentity,
    identity_columns: &[usize],
    places: &[(usize, usize)],
) -> Lookup {
    let by_index = |index: &UniqueIndex| Lookup {
        by: LookupBy::Index,
        columns: index.columns.clone(),
        operators: index.operators.clone(),
    };
    let keyed = matches!(identity, ReplicaIdentity::PrimaryKey | ReplicaIdentity::Index);
    if keyed && !identity_columns.is_empty() {
        let mut wanted = identity_columns.to_vec();
        wanted.sort_unstable();
        let same = |index: &&UniqueIndex| {
            let mut columns = index.columns.clone();
            columns.sort_unstable();
            columns == wanted
        };
        return match target.unique.iter().find(same) {
            Some(index) => by_index(index),
            None => by_columns(target, wanted),
        };
    }
    let arrives = |column: &usize| places.iter().any(|(place, _)| place == column);
    let serves = |index: &&UniqueIndex| index.not_null && index.columns.iter().all(arrives);
    match target.unique.iter().find(serves) {
        Some(index) => by_index(index),
        None => Lookup {
            by: LookupBy::WholeRow,
            columns: places.iter().map(|(place, _)| *place).collect(),
            operators: Vec::new(),
        },
    }
}

/// Equal rows are told apart by where they lie, and each segment has a replicated table's rows somewhere else.
fn copies_of_whole_rows(target: &Target) -> Error {
    Error::refused(
        format!(
            "table {} is replicated to all segments and has no key: its rows cannot be told apart",
            target.name
        ),
        format!(
            "Add a primary key at the source and at the destination, or distribute it otherwise: \
             ALTER TABLE {} SET DISTRIBUTED RANDOMLY;",
            target.sql_name
        ),
    )
}

fn by_columns(target: &Target, columns: Vec<usize>) -> Lookup {
    let operators: Option<Vec<String>> =
        columns.iter().map(|column| target.columns[*column].equality.clone()).collect();
    match operators {
        Some(operators) if target.distribution.is_some() => {
            Lookup { by: LookupBy::Columns, columns, operators }
        }
        _ => Lookup { by: LookupBy::Text, columns, operators: Vec::new() },
    }
}

fn columns_missing(target: &Target, missing: &[&str]) -> Error {
    let additions: Vec<String> = missing
        .iter()
        .map(|name| format!("ADD COLUMN {} …", strait_postgres::quote::identifier(name)))
        .collect();
    Error::refused(
        format!("table {} at the destination lacks what the source has: {}", target.name, missing.join(", ")),
        format!(
            "ALTER TABLE {} {}; with the types of the source: the table begins over then.",
            target.sql_name,
            additions.join(", ")
        ),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use strait_proto::v1::{RelationColumn, TableName};

    use super::super::target::tests::{column, target, unique};
    use super::super::tuple::tests::tuple;
    use super::*;

    /// A definition of `public.t`: columns marked with `*` belong to the replica identity.
    pub(crate) fn definition(columns: &[&str], identity: ReplicaIdentity) -> RelationDefinition {
        RelationDefinition {
            relation_id: 1,
            table_id: 1,
            target: Some(TableName::new("public", "t")),
            columns: columns
                .iter()
                .map(|name| RelationColumn {
                    name: name.trim_end_matches('*').to_owned(),
                    key: name.ends_with('*'),
                })
                .collect(),
            replica_identity: identity.into(),
        }
    }

    /// `public.t (id integer primary key, name text)`, identified by its key.
    pub(crate) fn keyed() -> Arc<Relation> {
        let mut table = target(&[column("id", "integer"), column("name", "text")]);
        table.unique.push(unique(&[0], true));
        let definition = definition(&["id*", "name"], ReplicaIdentity::PrimaryKey);
        Arc::new(Relation::resolve(&definition, Arc::new(table)).unwrap())
    }

    /// `public.t (id integer, name text)`, without a key.
    pub(crate) fn keyless() -> Arc<Relation> {
        let table = target(&[column("id", "integer"), column("name", "text")]);
        let definition = definition(&["id*", "name*"], ReplicaIdentity::Full);
        Arc::new(Relation::resolve(&definition, Arc::new(table)).unwrap())
    }

    #[test]
    fn columns_are_matched_by_name() {
        let mut table = target(&[column("local", "text"), column("b", "text"), column("a", "text")]);
        table.columns.push(column("total", "integer"));
        table.columns[3].generated = true;
        let definition = definition(&["a", "total", "b"], ReplicaIdentity::Full);
        let relation = Relation::resolve(&definition, Arc::new(table)).unwrap();
        assert_eq!((relation.written, relation.positions), (vec![1, 2], vec![2, 0]));
    }

    #[test]
    fn a_column_that_the_destination_lacks_is_a_refusal_with_the_statement_to_run() {
        let table = target(&[column("a", "text")]);
        let error =
            Relation::resolve(&definition(&["a", "b"], ReplicaIdentity::Full), Arc::new(table)).unwrap_err();
        let failure = error.failure();
        assert!(failure.definite && failure.remedy.contains("ADD COLUMN \"b\""), "{failure:?}");
    }

    #[test]
    fn how_a_row_is_found() {
        use LookupBy::{Index, Text, WholeRow};
        use ReplicaIdentity::{Full, None, PrimaryKey};
        let key = unique(&[0], true);
        let other = unique(&[1], false);
        let cases = [
            // Identity, columns, indexes of the destination; what finds a row.
            (PrimaryKey, ["a*", "b"], vec![key.clone()], Index, vec![0]),
            (PrimaryKey, ["a*", "b"], vec![], Text, vec![0]),
            (PrimaryKey, ["a", "b*"], vec![key.clone(), other.clone()], Index, vec![1]),
            (Full, ["a*", "b*"], vec![other.clone(), key.clone()], Index, vec![0]),
            // A nullable unique index does not identify rows.
            (Full, ["a*", "b*"], vec![other], WholeRow, vec![0, 1]),
            (Full, ["a*", "b*"], vec![], WholeRow, vec![0, 1]),
            (None, ["a", "b"], vec![key], Index, vec![0]),
        ];
        for (identity, columns, unique, by, lookup_columns) in cases {
            let mut table = target(&[column("a", "text"), column("b", "text")]);
            table.unique = unique;
            let relation = Relation::resolve(&definition(&columns, identity), Arc::new(table)).unwrap();
            let found = (relation.lookup.by, relation.lookup.columns.clone());
            assert_eq!(found, (by, lookup_columns), "{relation:?}");
        }
    }

    #[test]
    fn rows_without_a_key_beside_local_columns_are_changed_in_order() {
        let columns = [column("a", "text"), column("local", "text")];
        let full = Relation::resolve(&definition(&["a*"], ReplicaIdentity::Full), Arc::new(target(&columns)));
        assert!(full.unwrap().in_order);
        assert!(!keyless().in_order);
    }

    #[test]
    fn keys_of_several_columns_do_not_run_into_each_other() {
        let mut table = target(&[column("a", "text"), column("b", "text")]);
        table.unique.push(unique(&[1, 0], true));
        let definition = definition(&["a*", "b*"], ReplicaIdentity::PrimaryKey);
        let relation = Relation::resolve(&definition, Arc::new(table)).unwrap();
        let key = |a, b| relation.key(&tuple(&[Some(a), Some(b)])).unwrap();
        assert_ne!(key("x", "yz"), key("xy", "z"));
        assert_eq!(key("x", "y"), key("x", "y"));
        assert!(relation.key(&tuple(&[Some("x"), None])).is_err());
    }
}
