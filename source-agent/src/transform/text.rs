//! What a task says about the rows of a table, as it is recorded at the source when the table begins.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use strait_proto::v1;

/// A table's rules as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransformText {
    /// What `table` stands for: schema and name at the source when the table began.
    pub(crate) table: String,
    pub(crate) rules: Vec<RuleText>,
    /// Types at the destination, where the task says other ones, by the names that `set` uses.
    #[serde(default)]
    pub(crate) types: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) needs: Needs,
    /// The columns that say which row it is.
    #[serde(default)]
    pub(crate) key: BTreeSet<String>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleText {
    /// Empty: always.
    #[serde(default)]
    pub(crate) when: String,
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) drop: bool,
}

/// What the rules need to know of the row as it was before a change: decides whether the table needs REPLICA IDENTITY FULL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Needs {
    /// Columns that the identity has to hold: what becomes of the old row depends on them.
    pub(crate) in_key: BTreeSet<String>,
    /// Columns whose values have to come with every update, whether it changes them or not.
    pub(crate) values: BTreeSet<String>,
    /// All values have to: a row that was left out may have to be inserted by an update.
    pub(crate) all_values: bool,
    /// The old row itself.
    pub(crate) old: bool,
}

impl TransformText {
    /// Of the rules of an entry; None where it has none. `type_of` is the type that a column gets at the destination.
    pub(crate) fn of(
        table: &v1::TableName,
        rules: &[v1::TransformRule],
        type_of: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        if rules.is_empty() {
            return None;
        }
        let text = |rule: &v1::TransformRule| RuleText {
            when: rule.when.clone(),
            set: rule.set.clone(),
            drop: rule.drop,
        };
        let targets = rules.iter().flat_map(|rule| rule.set.keys());
        let types = targets.filter_map(|column| Some((column.clone(), type_of(column)?))).collect();
        let table = format!("{}.{}", table.schema, table.name);
        Some(Self { table, rules: rules.iter().map(text).collect(), types, ..Self::default() })
    }
}
