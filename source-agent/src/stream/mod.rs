//! The change stream, from the slot to the sink and back.
//!
//! ```text
//!  walsender ─┐ Reader: one of the two at a time
//!  slices ────┴─► Forward: decode ─► Shape ─► FramePacker ──(throttle, credit)──► 4 frames ─► StreamChanges ─► sink
//!                                     │ unknown relation                                                      │
//!                                     └─► catalog                                                             │
//!  walsender ◄─ status ◄───────────────── Positions ◄── acks, credit ◄──────────────────────────────────────┘
//!  source    ◄─ heartbeat, supervision, progress (control connection)
//! ```
//!
//! Why it makes progress: the reader waits for the throttle, which time alone lifts, and for credit, and credit comes back on a path that does not pass it. While it
//! waits, the walsender is not read, but its status updates go on, so it keeps the connection. What is confirmed to the
//! slot is `durable_lsn` and nothing else, whichever way changes are fetched.
//!
//! Why it is bounded: what is between the socket and the sink's consumption is at most the credit, the frames and chunks
//! of the channels and one row.

mod acks;
mod catch_up;
mod conclude;
mod credit;
mod forward;
mod frame;
mod heartbeat;
mod hold;
mod latency;
mod marks;
mod mode;
mod partitions;
mod positions;
mod reader;
mod run;
mod sequences;
mod shape;
mod slot_access;
mod standbys;
mod start;
mod status;
mod streaming;
mod supervise;
mod tables;
mod throttle;
mod truncate;
mod walsender;
mod watch_tables;

pub(crate) use conclude::conclude;
pub(crate) use hold::Hold;
pub(crate) use marks::TableMarks;
pub(crate) use partitions::DETACHED;
pub(crate) use run::{OnceMarker, StreamRun};
pub(crate) use sequences::SequenceSync;
pub(crate) use streaming::PutOff;
