//! What became of each object.

use serde::Serialize;
use strait_proto::v1::{self, ObjectOutcome};

/// One object.
#[derive(Debug, Serialize)]
pub(crate) struct ObjectView {
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) schema: String,
    pub(crate) name: String,
    /// created, existed, skipped, failed.
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) statement: String,
}

/// How many objects ended in which way.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ObjectCounts {
    pub(crate) created: usize,
    pub(crate) existed: usize,
    pub(crate) skipped: usize,
    pub(crate) failed: usize,
}

impl ObjectCounts {
    pub(crate) fn of(objects: &[v1::ObjectResult]) -> Self {
        let count = |outcome| objects.iter().filter(|object| object.outcome() == outcome).count();
        Self {
            created: count(ObjectOutcome::Created),
            existed: count(ObjectOutcome::Existed),
            skipped: count(ObjectOutcome::Skipped),
            failed: count(ObjectOutcome::Failed),
        }
    }
}

impl ObjectView {
    /// `schema.name`, or the name of an object that lives in no schema.
    pub(crate) fn qualified_name(&self) -> String {
        if self.schema.is_empty() { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

impl From<&v1::ObjectResult> for ObjectView {
    fn from(object: &v1::ObjectResult) -> Self {
        Self {
            kind: object.object_kind.clone(),
            schema: object.schema.clone(),
            name: object.name.clone(),
            outcome: match object.outcome() {
                ObjectOutcome::Unspecified => "unspecified",
                ObjectOutcome::Created => "created",
                ObjectOutcome::Existed => "existed",
                ObjectOutcome::Skipped => "skipped",
                ObjectOutcome::Failed => "failed",
            },
            detail: object.detail.clone(),
            statement: object.statement.clone(),
        }
    }
}
