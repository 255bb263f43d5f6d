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
            operations: options.operations().map(v1::Operation::word).collect(),
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
    use v1::Synchronization::{Full, Incremental, Schema};
    let parts = [Schema, Full, Incremental].into_iter();
    parts.filter(|part| spec.synchronizes(*part)).map(v1::Synchronization::word).collect()
}

/// The row operations that are carried.
pub(super) fn operations(spec: &v1::TaskSpec) -> Vec<&'static str> {
    use v1::Operation::{Delete, Insert, Truncate, Update};
    let chosen: Vec<v1::Operation> = spec.operations().collect();
    let operations = if chosen.is_empty() { vec![Insert, Update, Delete, Truncate] } else { chosen };
    operations.into_iter().map(v1::Operation::word).collect()
}

// What serde passes is a reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}
