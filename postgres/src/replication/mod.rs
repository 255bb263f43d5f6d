//! Client of the streaming replication protocol (PostgreSQL, Streaming Replication Protocol), for logical
//! slots of pgoutput.
//!
//! ```text
//! connect ─► ReplicationConnection ── identify_system, create_slot, drop_slot, timeline_history
//!                     ├─► SlotCopy            slices of changes over SQL ─► CopyOut
//!                     │ start
//!                     ├─► ReplicationReader   socket ─► 256 KiB buffer ─► messages that share the buffer
//!                     └─► ReplicationWriter   status updates ─► socket
//! ```
//!
//! Reader and writer are independent, so that positions are confirmed while the reader waits for the next
//! message, or does not read at all because the destination is slow: either way the server gets its answers
//! and keeps the connection. Bytes are read in bulk, as many as the socket holds, and a message is a slice of
//! what was read.
//!
//! tokio-postgres has no replication mode, which is why this is here.

mod authenticate;
mod cancel;
mod catch_up;
mod connection;
mod copy_out;
mod frames;
#[cfg(test)]
mod fuzz;
mod options;
mod query;
mod reader;
mod timeline;
mod writer;

use strait_proto::Lsn;

pub use catch_up::{CopyPosition, SliceBounds, SlotCopy};
pub use connection::ReplicationConnection;
pub use copy_out::CopyOut;
pub use options::StartOptions;
pub use reader::{ReplicationMessage, ReplicationReader};
pub use timeline::TimelineSwitch;
pub use writer::{ReplicationWriter, StandbyStatus};

/// Which cluster a server is, and how far its log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemIdentity {
    /// Names the cluster: physical replicas share it.
    pub system_identifier: String,
    /// The timeline that the server is on.
    pub timeline: u32,
    /// How far the log is flushed.
    pub flush_lsn: Lsn,
}

/// How long a slot lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotLifetime {
    /// Until it is dropped.
    Permanent {
        /// Standbys with `sync_replication_slots` keep a copy, from which the stream goes on after one was promoted. Servers
        /// have this [from PostgreSQL 17](crate::ServerVersion::has_failover_slots).
        failover: bool,
    },
    /// Until its connection ends.
    Temporary,
}

/// A slot that was just created, and the snapshot at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedSlot {
    /// The slot's stream has every transaction whose `commit_lsn` lies at or past this position, the snapshot
    /// sees every transaction before it.
    pub consistent_point: Lsn,
    /// For SET TRANSACTION SNAPSHOT, until the connection that created the slot runs its next command or
    /// ends.
    pub snapshot_name: String,
}
