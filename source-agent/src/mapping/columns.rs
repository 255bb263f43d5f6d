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
}

impl ColumnMap {
    /// `only` empty: all columns are carried.
    pub(super) fn new(only: Vec<String>, renamed: BTreeMap<String, String>, case: NameCase) -> Self {
        let only = (!only.is_empty()).then(|| only.into_iter().collect());
        Self { only, renamed, case }
    }

    /// The destination's name; None for a column that is left out.
    pub(crate) fn target(&self, source: &str) -> Option<String> {
        if self.only.as_ref().is_some_and(|only| !only.contains(source)) {
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
