//! What an include says about its tables, and the words of a task's choices, as the document has them.

use std::collections::BTreeMap;

use serde::Serialize;
use strait_proto::v1;

/// The options of an include; what is not said is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct OptionsView {
    #[serde(skip_serializing_if = "Option::is_none")]
    rename: Option<RenameView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    #[serde(rename = "where", skip_serializing_if = "String::is_empty")]
    filter: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operations: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    primary_key: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    distribution_key: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    storage: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transform: Vec<RuleView>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    column_types: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_false")]
    merge: bool,
}

#[derive(Debug, Serialize)]
struct RenameView {
    #[serde(skip_serializing_if = "String::is_empty")]
    schema: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    table: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct RuleView {
    #[serde(skip_serializing_if = "String::is_empty")]
    when: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_false")]
    drop: bool,
}

impl From<&v1::TableOptions> for OptionsView {
    fn from(options: &v1::TableOptions) -> Self {
        Self {
            rename: options.rename.clone().map(|rename| RenameView {
                schema: rename.schema,
                table: rename.table,
                columns: rename.columns,
            }),
            columns: options.columns.clone(),
            filter: options.r#where.clone(),
            operations: options.operations().map(operation).collect(),
            primary_key: options.primary_key.clone(),
            distribution_key: options.distribution_key.clone(),
            storage: options.storage.clone(),
            transform: options.transform.iter().cloned().map(RuleView::from).collect(),
            column_types: options.column_types.clone(),
            merge: options.merge,
        }
    }
}

impl From<v1::TransformRule> for RuleView {
    fn from(rule: v1::TransformRule) -> Self {
        Self { when: rule.when, set: rule.set, drop: rule.drop }
    }
}

/// The parts that are synchronised.
pub(super) fn synchronize(spec: &v1::TaskSpec) -> Vec<&'static str> {
    let parts: Vec<_> = spec.synchronize().map(part).collect();
    if parts.is_empty() { vec!["schema", "full", "incremental"] } else { parts }
}

/// The row operations that are carried.
pub(super) fn operations(spec: &v1::TaskSpec) -> Vec<&'static str> {
    let operations: Vec<_> = spec.operations().map(operation).collect();
    if operations.is_empty() { vec!["insert", "update", "delete", "truncate"] } else { operations }
}

pub(super) const fn existing_tables(choice: v1::ExistingTables) -> &'static str {
    match choice {
        v1::ExistingTables::Unspecified | v1::ExistingTables::Fail => "fail",
        v1::ExistingTables::Proceed => "proceed",
    }
}

pub(super) const fn name_case(case: v1::NameCase) -> &'static str {
    match case {
        v1::NameCase::Unspecified => "default",
        v1::NameCase::Source => "source",
        v1::NameCase::Lower => "lower",
        v1::NameCase::Upper => "upper",
    }
}

pub(super) const fn partitions(choice: v1::Partitions) -> &'static str {
    match choice {
        v1::Partitions::Unspecified | v1::Partitions::Flatten => "flatten",
        v1::Partitions::Preserve => "preserve",
    }
}

const fn part(part: v1::Synchronization) -> &'static str {
    match part {
        v1::Synchronization::Unspecified | v1::Synchronization::Schema => "schema",
        v1::Synchronization::Full => "full",
        v1::Synchronization::Incremental => "incremental",
    }
}

const fn operation(operation: v1::Operation) -> &'static str {
    match operation {
        v1::Operation::Unspecified | v1::Operation::Insert => "insert",
        v1::Operation::Update => "update",
        v1::Operation::Delete => "delete",
        v1::Operation::Truncate => "truncate",
    }
}

// What serde passes is a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}
