//! What a task synchronises: its parts, and of the changes the operations, table by table.
//!
//! An operation that is left out is not sent. What follows from that is the destination's to count: an UPDATE of a row whose
//! INSERT was left out is a conflict, as for any row that is missing. An UPDATE that changes a key is an UPDATE.

use strait_postgres::ServerVersion;
use strait_proto::v1::{self, Operation, RowOperation, Synchronization};

/// The parts of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// What the destination lacks is created.
    pub(crate) schema: bool,
    /// The rows that are there are copied.
    pub(crate) full: bool,
    /// Later changes follow.
    pub(crate) incremental: bool,
}

/// A set of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operations {
    insert: bool,
    update: bool,
    delete: bool,
    pub(crate) truncate: bool,
}

/// Which operations each table carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carried {
    selection: v1::ObjectSelection,
    /// Empty: all.
    operations: Vec<i32>,
}

impl Parts {
    /// A task that says nothing, as one that was stored before it could, has all of them.
    pub(crate) fn of(spec: Option<&v1::TaskSpec>) -> Self {
        let has = |part| spec.is_none_or(|spec| spec.synchronizes(part));
        Self {
            schema: has(Synchronization::Schema),
            full: has(Synchronization::Full),
            incremental: has(Synchronization::Incremental),
        }
    }
}

impl Operations {
    #[cfg(test)]
    pub(crate) const ALL: Self = Self { insert: true, update: true, delete: true, truncate: true };

    /// None are all.
    fn of(chosen: &[i32]) -> Self {
        let has = |operation: Operation| chosen.is_empty() || chosen.contains(&operation.into());
        Self {
            insert: has(Operation::Insert),
            update: has(Operation::Update),
            delete: has(Operation::Delete),
            truncate: has(Operation::Truncate),
        }
    }

    pub(crate) fn carry(self, operation: RowOperation) -> bool {
        match operation {
            RowOperation::Insert => self.insert,
            RowOperation::Update => self.update,
            RowOperation::Delete => self.delete,
            RowOperation::Unspecified => true,
        }
    }

    /// What a publication's option `publish` lists. Where the stream has no logical messages the heartbeat is a row, whose
    /// changes have to be published too.
    pub(crate) fn published(self, version: ServerVersion) -> Vec<&'static str> {
        let is_row = !version.streams_messages();
        let operations = [
            (self.insert || is_row, "insert"),
            (self.update || is_row, "update"),
            (self.delete || is_row, "delete"),
            (self.truncate || is_row, "truncate"),
        ];
        operations.iter().filter(|(published, _)| *published).map(|(_, word)| *word).collect()
    }

    fn or(self, other: Self) -> Self {
        Self {
            insert: self.insert || other.insert,
            update: self.update || other.update,
            delete: self.delete || other.delete,
            truncate: self.truncate || other.truncate,
        }
    }
}

impl Carried {
    pub(crate) fn of(spec: Option<&v1::TaskSpec>) -> Self {
        let selection = spec.and_then(|spec| spec.objects.clone()).unwrap_or_default();
        Self { selection, operations: spec.map(|spec| spec.operations.clone()).unwrap_or_default() }
    }

    /// Those of a table that the task says this about.
    pub(crate) fn by_table(&self, options: &v1::TableOptions) -> Operations {
        let own = &options.operations;
        Operations::of(if own.is_empty() { &self.operations } else { own })
    }

    /// Those of a table whose name is not known.
    pub(crate) fn by_task(&self) -> Operations {
        Operations::of(&self.operations)
    }

    /// Those that any table may carry.
    pub(crate) fn by_any(&self) -> Operations {
        let includes = self.selection.include.iter().filter_map(|pattern| pattern.options.as_ref());
        let own = includes.filter(|options| !options.operations.is_empty());
        own.fold(self.by_task(), |all, options| all.or(Operations::of(&options.operations)))
    }
}

#[cfg(test)]
mod tests {
    use strait_proto::v1::{ObjectPattern, ObjectSelection, TableOptions, TaskSpec};

    use super::*;

    fn spec(task: &[Operation], table: &[Operation]) -> TaskSpec {
        let numbers = |list: &[Operation]| list.iter().map(|it| (*it).into()).collect::<Vec<i32>>();
        let options = TableOptions { operations: numbers(table), ..Default::default() };
        let entry = ObjectPattern { schema: "s".into(), table: "t".into(), options: Some(options) };
        TaskSpec {
            operations: numbers(task),
            objects: Some(ObjectSelection { include: vec![entry], ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_table_carries_its_own_operations_or_the_tasks() {
        let carried = Carried::of(Some(&spec(&[Operation::Insert], &[Operation::Delete])));
        let own = TableOptions { operations: vec![Operation::Delete.into()], ..Default::default() };
        assert!(carried.by_table(&own).carry(RowOperation::Delete));
        assert!(!carried.by_table(&own).carry(RowOperation::Insert));
        assert!(carried.by_table(&TableOptions::default()).carry(RowOperation::Insert));
        assert!(!carried.by_table(&TableOptions::default()).truncate);
        assert_eq!(Carried::of(None).by_table(&TableOptions::default()), Operations::ALL);
    }

    #[test]
    fn what_no_table_carries_is_not_published() {
        let published = |task: &[Operation], table: &[Operation], version| {
            Carried::of(Some(&spec(task, table))).by_any().published(ServerVersion(version)).join(", ")
        };
        assert_eq!(published(&[], &[], 150_000), "insert, update, delete, truncate");
        assert_eq!(published(&[Operation::Insert], &[], 150_000), "insert");
        assert_eq!(published(&[Operation::Insert], &[Operation::Delete], 150_000), "insert, delete");
        assert_eq!(published(&[Operation::Insert], &[], 130_000), "insert, update, delete, truncate");
    }

    #[test]
    fn a_task_that_says_nothing_has_every_part() {
        let all = Parts { schema: true, full: true, incremental: true };
        assert_eq!((Parts::of(None), Parts::of(Some(&TaskSpec::default()))), (all, all));
        let spec = TaskSpec { synchronize: vec![Synchronization::Full.into()], ..Default::default() };
        assert_eq!(Parts::of(Some(&spec)), Parts { schema: false, full: true, incremental: false });
    }
}
