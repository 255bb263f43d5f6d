//! The choices of a document and of its entries, as the request has them.

use serde_saphyr::Spanned;
use strait_proto::v1;

use super::fields::{
    EntryFields, ExistingTables, Field, NameCase, Operation, Part, Partitions, Rename, Transform,
};

/// What an entry says about its tables; None where it only names them.
pub(super) fn table_options(fields: &EntryFields) -> Option<v1::TableOptions> {
    let options = v1::TableOptions {
        rename: value(&fields.rename).map(v1::Rename::from),
        columns: value(&fields.columns).unwrap_or_default(),
        r#where: value(&fields.filter).unwrap_or_default(),
        operations: operations(fields.operations.as_ref()),
        primary_key: value(&fields.primary_key).unwrap_or_default(),
        distribution_key: value(&fields.distribution_key).unwrap_or_default(),
        storage: value(&fields.storage).unwrap_or_default(),
        transform: value(&fields.transform).unwrap_or_default().into_iter().map(Into::into).collect(),
        column_types: value(&fields.column_types).unwrap_or_default(),
        merge: value(&fields.merge).unwrap_or_default(),
    };
    (options != v1::TableOptions::default()).then_some(options)
}

/// Operations as the request lists them.
pub(super) fn operations(operations: Option<&Spanned<Vec<Operation>>>) -> Vec<i32> {
    list::<_, v1::Operation>(operations)
}

/// The parts that are synchronised, as the request lists them.
pub(super) fn parts(parts: Option<&Spanned<Vec<Part>>>) -> Vec<i32> {
    list::<_, v1::Synchronization>(parts)
}

fn list<T: Copy, E: From<T> + Into<i32>>(values: Option<&Spanned<Vec<T>>>) -> Vec<i32> {
    values.map_or_else(Vec::new, |values| values.value.iter().map(|value| E::from(*value).into()).collect())
}

fn value<T: Clone>(field: &Field<T>) -> Option<T> {
    field.as_ref().map(|field| field.value.clone())
}

impl From<Rename> for v1::Rename {
    fn from(rename: Rename) -> Self {
        Self {
            schema: rename.schema.unwrap_or_default(),
            table: rename.table.unwrap_or_default(),
            columns: rename.columns.unwrap_or_default(),
        }
    }
}

impl From<Transform> for v1::TransformRule {
    fn from(rule: Transform) -> Self {
        Self {
            when: rule.when.unwrap_or_default(),
            set: rule.set.unwrap_or_default(),
            drop: rule.drop.unwrap_or_default(),
        }
    }
}

impl From<Part> for v1::Synchronization {
    fn from(part: Part) -> Self {
        match part {
            Part::Schema => Self::Schema,
            Part::Full => Self::Full,
            Part::Incremental => Self::Incremental,
        }
    }
}

impl From<Operation> for v1::Operation {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Insert => Self::Insert,
            Operation::Update => Self::Update,
            Operation::Delete => Self::Delete,
            Operation::Truncate => Self::Truncate,
        }
    }
}

impl From<ExistingTables> for v1::ExistingTables {
    fn from(choice: ExistingTables) -> Self {
        match choice {
            ExistingTables::Fail => Self::Fail,
            ExistingTables::Proceed => Self::Proceed,
        }
    }
}

impl From<NameCase> for v1::NameCase {
    fn from(case: NameCase) -> Self {
        match case {
            NameCase::Default => Self::Unspecified,
            NameCase::Source => Self::Source,
            NameCase::Lower => Self::Lower,
            NameCase::Upper => Self::Upper,
        }
    }
}

impl From<Partitions> for v1::Partitions {
    fn from(choice: Partitions) -> Self {
        match choice {
            Partitions::Flatten => Self::Flatten,
            Partitions::Preserve => Self::Preserve,
        }
    }
}
