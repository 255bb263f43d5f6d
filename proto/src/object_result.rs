//! What became of an object.

use crate::v1::{ObjectOutcome, ObjectResult};

impl ObjectResult {
    /// A result without detail and statement.
    pub fn new(
        object_kind: impl Into<String>,
        schema: impl Into<String>,
        name: impl Into<String>,
        outcome: ObjectOutcome,
    ) -> Self {
        Self {
            object_kind: object_kind.into(),
            schema: schema.into(),
            name: name.into(),
            outcome: outcome.into(),
            ..Self::default()
        }
    }

    /// The same with its detail.
    #[must_use]
    pub fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}
