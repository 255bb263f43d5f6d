//! Splits the operations of a batch: what may depend on each other stays together, in order.
//!
//! Every change names what it touches: the unique values of the row that it finds and of the row that it leaves, as far as
//! they are known, and the rows of other tables that those refer to. Changes that name the same belong together, and so do
//! all that are connected through others. Such a group goes to one lane; the largest groups are dealt out first, each to the
//! lane that has the least.
//!
//! Pure, and the same for the same operations, keys and number. It may err towards keeping things together only. What it
//! cannot know, the value that a row gives up where the source's log does not have it, `run` answers for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use strait_proto::v1::TableName;

use super::super::change::{Change, ChangeKind, Operation};
use super::super::relation::{LookupBy, Relation};
use super::super::tuple::{Cell, Tuple};
use super::fingerprint::Fnv;
use super::keys::{Key, Keys};

/// A lane that has fewer operations is not worth its transaction.
pub(super) const LANE_OPERATIONS_MIN: usize = 250;
/// A lane that would hold more of a batch than this, in percent, leaves too little to the others.
const SHARE_MAX_PERCENT: usize = 80;

/// The places of the operations of each lane, ascending; none where one transaction is the better way: the batch is small,
/// hangs together, empties tables, or has two shapes of one table.
pub(super) fn partition(operations: &[Operation], keys: &Keys, lanes: usize) -> Option<Vec<Vec<usize>>> {
    let lanes = lanes.min(operations.len() / LANE_OPERATIONS_MIN);
    if lanes < 2 {
        return None;
    }
    let parts = deal(&groups(operations, keys)?, lanes);
    let largest = parts.iter().map(Vec::len).max().unwrap_or_default();
    (largest * 100 <= operations.len() * SHARE_MAX_PERCENT).then_some(parts)
}

/// For each operation the first one of its group.
fn groups(operations: &[Operation], keys: &Keys) -> Option<Vec<usize>> {
    let changes: Vec<&Change> = operations
        .iter()
        .map(|operation| match operation {
            Operation::Row(change) => Some(change),
            Operation::Truncate(_) | Operation::Suspend(_) => None,
        })
        .collect::<Option<_>>()?;
    let mut serial = keys.serial();
    // Each turn makes at least one more table serial.
    loop {
        match Grouping::new(keys, &serial).run(&changes)? {
            Grouped::Complete(groups) => return Some(groups),
            Grouped::Unknown(tables) => serial.extend(tables),
        }
    }
}

/// Deals groups out; the places of each lane's operations, without lanes that got none.
fn deal(groups: &[usize], lanes: usize) -> Vec<Vec<usize>> {
    let mut sizes = vec![0_usize; groups.len()];
    for first in groups {
        sizes[*first] += 1;
    }
    let mut by_size: Vec<usize> = (0..groups.len()).filter(|first| sizes[*first] > 0).collect();
    by_size.sort_by_key(|first| (Reverse(sizes[*first]), *first));
    let mut loads: BinaryHeap<Reverse<(usize, usize)>> = (0..lanes).map(|lane| Reverse((0, lane))).collect();
    let mut lane_of = vec![0; groups.len()];
    for first in by_size {
        // As many come out as went in.
        let Some(Reverse((load, lane))) = loads.pop() else { break };
        lane_of[first] = lane;
        loads.push(Reverse((load + sizes[first], lane)));
    }
    let mut parts = vec![Vec::new(); lanes];
    for (place, first) in groups.iter().enumerate() {
        parts[lane_of[*first]].push(place);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

enum Grouped {
    Complete(Vec<usize>),
    /// A value of a key of these tables was not sent.
    Unknown(Vec<TableName>),
}

/// A run over the changes of a batch.
struct Grouping<'a> {
    keys: &'a Keys,
    serial: &'a HashSet<TableName>,
    /// By the address of a relation, which the changes keep alive.
    relations: HashMap<usize, Ties>,
    /// How each table's rows are found, and its shape: two in one batch do not mix.
    shapes: HashMap<TableName, Arc<Relation>>,
    unknown: Vec<TableName>,
    /// Who named something first.
    named: HashMap<u64, usize>,
    /// Union-find over the places of the changes; a root is the first of its group.
    parents: Vec<usize>,
}

/// How the rows of one relation are tied to others.
#[derive(Default)]
struct Ties {
    /// All rows of the table are tied to each other, by this name.
    serial: Option<u64>,
    /// Keys whose columns are positions in a tuple.
    keys: Vec<Key>,
    /// To serial tables, by these names, where the columns have a value.
    serial_parents: Vec<(u64, Vec<usize>)>,
}

impl<'a> Grouping<'a> {
    fn new(keys: &'a Keys, serial: &'a HashSet<TableName>) -> Self {
        Self {
            keys,
            serial,
            relations: HashMap::new(),
            shapes: HashMap::new(),
            unknown: Vec::new(),
            named: HashMap::new(),
            parents: Vec::new(),
        }
    }

    /// None where a table has two shapes.
    fn run(mut self, changes: &[&Change]) -> Option<Grouped> {
        self.parents = (0..changes.len()).collect();
        let mut names = Vec::new();
        for (place, change) in changes.iter().enumerate() {
            names.clear();
            self.names(change, &mut names)?;
            for name in &names {
                let first = *self.named.entry(*name).or_insert(place);
                self.join(first, place);
            }
        }
        if !self.unknown.is_empty() {
            return Some(Grouped::Unknown(self.unknown));
        }
        Some(Grouped::Complete((0..changes.len()).map(|place| self.root(place)).collect()))
    }

    /// What a change touches.
    fn names(&mut self, change: &Change, names: &mut Vec<u64>) -> Option<()> {
        let address = Arc::as_ptr(&change.relation) as usize;
        if !self.relations.contains_key(&address) {
            let ties = self.ties(&change.relation)?;
            self.relations.insert(address, ties);
        }
        let ties = &self.relations[&address];
        names.extend(&ties.serial);
        let (old, new) = match &change.kind {
            ChangeKind::Insert { new } => (None, Some(new)),
            ChangeKind::Update { old, new } => (old.as_ref(), Some(new)),
            ChangeKind::Delete { old } => (Some(old), None),
        };
        let mut complete = true;
        for tuple in old.into_iter().chain(new) {
            complete &= ties.of_tuple(tuple, names);
        }
        if !complete && ties.serial.is_none() {
            self.unknown.push(change.relation.target.name.clone());
        }
        Some(())
    }

    fn ties(&mut self, relation: &Arc<Relation>) -> Option<Ties> {
        let keys = self.keys.of(&relation.target)?;
        let name = &relation.target.name;
        let shape = self.shapes.entry(name.clone()).or_insert_with(|| Arc::clone(relation));
        if shape.lookup != relation.lookup || shape.target != relation.target {
            return None;
        }
        let in_tuple = |key: &Key| {
            let columns: Option<Vec<usize>> =
                key.columns.iter().map(|column| position(relation, *column)).collect();
            columns.map(|columns| Key { columns, ..*key })
        };
        let mut ties = Ties::default();
        let unique: Option<Vec<Key>> = keys.unique.iter().map(in_tuple).collect();
        // The Greenplum family lets one transaction at a time change rows of a table.
        let one_writer = relation.target.distribution.is_some();
        // A unique column that does not arrive may have any value.
        if one_writer
            || unique.is_none()
            || relation.lookup.by != LookupBy::Index
            || self.serial.contains(name)
        {
            ties.serial = Some(serial_tie(name));
        }
        ties.keys.extend(unique.into_iter().flatten());
        for reference in &keys.references {
            let Some(key) = in_tuple(&reference.key) else { continue };
            if self.serial.contains(&reference.parent) {
                ties.serial_parents.push((serial_tie(&reference.parent), key.columns.clone()));
            }
            ties.keys.push(key);
        }
        Some(ties)
    }

    fn root(&mut self, mut place: usize) -> usize {
        while self.parents[place] != place {
            self.parents[place] = self.parents[self.parents[place]];
            place = self.parents[place];
        }
        place
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        self.parents[left.max(right)] = left.min(right);
    }
}

impl Ties {
    /// Adds what a state of a row touches. False: a value was not sent, so that not all is known.
    fn of_tuple(&self, tuple: &Tuple, names: &mut Vec<u64>) -> bool {
        let cells: Vec<Cell<'_>> = tuple.cells().collect();
        let cell = |column: &usize| cells.get(*column).copied().unwrap_or(Cell::Null);
        let mut complete = true;
        for key in &self.keys {
            complete &= key.columns.iter().all(|column| cell(column) != Cell::Unchanged);
            let null = key.columns.iter().any(|column| cell(column) == Cell::Null);
            if !null || key.nulls_equal {
                names.push(name(key.id, key.columns.iter().map(cell)));
            }
        }
        let some = |columns: &Vec<usize>| columns.iter().all(|column| cell(column) != Cell::Null);
        names.extend(self.serial_parents.iter().filter(|(_, columns)| some(columns)).map(|(tie, _)| *tie));
        complete
    }
}

/// Where a tuple has the value of a column of the target; none where it does not arrive.
fn position(relation: &Relation, column: usize) -> Option<usize> {
    let place = relation.written.iter().position(|written| *written == column)?;
    Some(relation.positions[place])
}

fn serial_tie(table: &TableName) -> u64 {
    // As a key without columns, which there is none of.
    super::keys::key_id(table, &[])
}

/// Two names that are equal by chance tie too much together, and nothing else.
fn name<'a>(key_id: u64, cells: impl Iterator<Item = Cell<'a>>) -> u64 {
    let mut hash = Fnv::default();
    hash.number(key_id);
    for cell in cells {
        match cell {
            Cell::Text(content) => hash.part(content),
            Cell::Null | Cell::Unchanged => hash.bytes(b"\xff"),
        }
    }
    hash.finish()
}

#[cfg(test)]
mod tests;
