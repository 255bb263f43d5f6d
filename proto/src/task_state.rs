//! The states of a task as scripts know them.

use std::fmt;

use crate::v1::TaskState;

impl TaskState {
    /// The contract's name: kebab case, `schema-sync`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Created => "created",
            Self::Prechecking => "prechecking",
            Self::PrecheckFailed => "precheck-failed",
            Self::Ready => "ready",
            Self::SchemaSync => "schema-sync",
            Self::FullSync => "full-sync",
            Self::Incremental => "incremental",
            Self::Retrying => "retrying",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Releasing => "releasing",
            Self::Released => "released",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
