//! The columns of one table: which are carried, and what they are called at the destination.
//!
//! A rule and not a list, because columns come at the source while their table is followed.

use std::collections::{BTreeMap, BTreeSet};

use strait_proto::v1::NameCase;

/// A name that nothing renames.
pub(super) fn cased(name: &str, case: NameCase) -> String {
    match case {
        NameCase::Lower => name.to_lowercase(),
        NameCase::Upper => name.to_uppercase(),
        NameCase::Unspecified | NameCase::Source => name.to_owned(),
    }
}

/// What becomes of a table's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ColumnMap {
    /// None: all.
    only: Option<BTreeSet<String>>,
    renamed: BTreeMap<String, String>,
    case: NameCase,
    /// What rules set, and so may have added.
    set: BTreeSet<String>,
}

impl ColumnMap {
    /// `only` empty: all columns are carried.
    pub(super) fn new(only: Vec<String>, renamed: BTreeMap<String, String>, case: NameCase) -> Self {
        let only = (!only.is_empty()).then(|| only.into_iter().collect());
        Self { only, renamed, case, set: BTreeSet::new() }
    }

    /// The same with the columns that rules set.
    pub(super) fn with_set(mut self, set: BTreeSet<String>) -> Self {
        self.set = set;
        self
    }

    /// Whether a column of the source is carried.
    pub(crate) fn carries(&self, source: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(source))
    }

    /// The destination's name; None for a column that is left out. One that a rule adds is carried, and called as one of the
    /// source that had its name.
    pub(crate) fn target(&self, source: &str) -> Option<String> {
        if !self.carries(source) && !self.set.contains(source) {
            return None;
        }
        Some(self.renamed.get(source).cloned().unwrap_or_else(|| cased(source, self.case)))
    }

    /// Whether columns are chosen by name, so that others stay out.
    pub(crate) fn is_subset(&self) -> bool {
        self.only.is_some()
    }

    /// The source's names that the task mentions.
    pub(super) fn mentioned(&self) -> impl Iterator<Item = &String> {
        self.only.iter().flatten().chain(self.renamed.keys())
    }
}
