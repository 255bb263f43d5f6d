//! The words of a task's choices, as the task file and the output have them, and what a task that says nothing means.

use crate::v1::{ExistingTables, NameCase, OnError, Operation, Partitions, Synchronization, TaskSpec};

impl TaskSpec {
    /// Whether the task has this part; one that names none has all of them.
    pub fn synchronizes(&self, part: Synchronization) -> bool {
        self.synchronize.is_empty() || self.synchronize.contains(&part.into())
    }
}

impl Synchronization {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified | Self::Schema => "schema",
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

impl Operation {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified | Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        }
    }
}

impl OnError {
    /// The word for it, or for the default.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified | Self::Stop => "stop",
            Self::Skip => "skip",
        }
    }
}

impl ExistingTables {
    /// The word for it, or for the default.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified | Self::Fail => "fail",
            Self::Proceed => "proceed",
        }
    }
}

impl NameCase {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "default",
            Self::Source => "source",
            Self::Lower => "lower",
            Self::Upper => "upper",
        }
    }
}

impl Partitions {
    /// The word for it, or for the default.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified | Self::Flatten => "flatten",
            Self::Preserve => "preserve",
        }
    }
}
