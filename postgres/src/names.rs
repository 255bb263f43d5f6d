//! The names that a task gives to what it makes at the source.

use std::fmt;

use strait_proto::TaskId;

/// What the name of everything that a task makes at the source begins with.
pub const NAME_PREFIX: &str = "dts_sync_";

/// The name of a replication slot: `[a-z0-9_]`, at most 63 bytes, unique within the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName(String);

impl SlotName {
    /// The slot that guards what the task has not made durable yet.
    pub fn for_task(task_id: &TaskId) -> Self {
        Self(format!("{NAME_PREFIX}{task_id}"))
    }

    /// The temporary slot whose snapshot a repeated full copy reads.
    pub fn temporary_for_task(task_id: &TaskId) -> Self {
        Self(format!("{NAME_PREFIX}{task_id}_copy"))
    }

    /// The temporary copy of the task's slot from which a long backlog is read.
    pub fn catch_up_for_task(task_id: &TaskId) -> Self {
        Self(format!("{NAME_PREFIX}{task_id}_catch_up"))
    }

    /// The name, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a publication: unique within its database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationName(String);

impl PublicationName {
    /// The publication that lists the task's tables.
    pub fn for_task(task_id: &TaskId) -> Self {
        Self(format!("{NAME_PREFIX}{task_id}"))
    }

    /// The name, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix_and_the_task() {
        let task_id: TaskId = "abc123def456".parse().unwrap();
        assert_eq!(SlotName::for_task(&task_id).as_str(), "dts_sync_abc123def456");
        assert_eq!(SlotName::temporary_for_task(&task_id).as_str(), "dts_sync_abc123def456_copy");
        assert_eq!(PublicationName::for_task(&task_id).to_string(), "dts_sync_abc123def456");
    }
}
