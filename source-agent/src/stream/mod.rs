//! The change stream, from the slot to the sink and back.
//!
//! ```text
//!  walsender ─► Reader: decode ─► Shape ─► FramePacker ──(credit)──► 4 frames ─► StreamChanges ─► sink
//!                                   │ unknown relation                                             │
//!                                   └─► catalog                                                    │
//!  walsender ◄─ status ◄───────────────── Positions ◄── acks, credit ◄───────────────────────────┘
//!  source    ◄─ heartbeat, supervision, progress (control connection)
//! ```
//!
//! Why it makes progress: the reader waits for credit alone, and credit comes back on a path that does not pass it. While it
//! waits, the walsender is not read, but its status updates go on, so it keeps the connection. What is confirmed to the
//! slot is `durable_lsn` and nothing else.
//!
//! Why it is bounded: what is between the socket and the sink's consumption is at most the credit, the frames of the
//! channel and one row.

mod acks;
mod credit;
mod frame;
mod heartbeat;
mod marks;
mod positions;
mod reader;
mod run;
mod sequences;
mod shape;
mod start;
mod status;
mod supervise;
mod tables;
mod truncate;
mod watch_tables;

pub(crate) use run::{OnceMarker, StreamRun};
