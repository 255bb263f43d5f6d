//! What a task makes and keeps at its source: publication, replica identities, slot, snapshot.
//!
//! ```text
//!  publication (empty) ─► identities FULL where rows could not be identified ─► tables into the publication
//!      the record of both is the publication's comment              │
//!                                                                   ▼
//!                        slot, which exports the snapshot that the full copy reads (SnapshotLease)
//! ```
//!
//! The order matters: PostgreSQL refuses UPDATE and DELETE of the *application* on a published table whose rows cannot
//! be identified. Nothing here waits for a lock longer than a moment, see [`locks`].

pub(crate) mod heartbeat;
pub(crate) mod identity;
pub(crate) mod lease;
pub(crate) mod leaves;
pub(crate) mod locks;
pub(crate) mod publication;
pub(crate) mod record;
pub(crate) mod slot;
mod waiting;

pub(crate) use lease::{Snapshot, SnapshotLease};
