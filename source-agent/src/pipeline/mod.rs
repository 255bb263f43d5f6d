//! The run of an assignment: one attempt after the other until it is finished, failed or stopped.
//!
//! ```text
//!  attempt: connect ─► OpenTask: what is there? ─► schema ─► full copy ─► change stream
//!     ▲                                              (whatever is missing, in this order)
//!     │ interrupted: pause, then all over            │ broken
//!     └──────────────────────────────────────────────┴─► definite: failed, the run ends
//! ```
//!
//! Nothing is remembered from one attempt to the next but the snapshot of an unfinished copy, and which transaction puts the
//! streaming of those in progress off: the destination says where it stands, the catalog says what there is.

mod attempt;
mod begin;
mod copying;
mod newcomers;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use strait_proto::v1;
use strait_runtime::Backoff;
use tokio::sync::{Mutex, watch};
use tokio_util::task::TaskTracker;

pub(crate) use copying::fits;

use crate::capture::SnapshotLease;
use crate::error::RunError;
use crate::joining::Memory;
use crate::link::Link;
use crate::mapping::Mapping;
use crate::reporter::Reporter;
use crate::source::Source;
use crate::stream::{OnceMarker, PutOff};

/// An assignment, and what its run needs.
pub(crate) struct Run {
    pub(crate) source: Source,
    pub(crate) assign: v1::Assign,
    pub(crate) selection: v1::ObjectSelection,
    pub(crate) mapping: Mapping,
    pub(crate) reporter: Reporter,
    /// Everything that the run spawns, so that its end can be waited for.
    pub(crate) tracker: TaskTracker,
    /// How the sink-agent is spoken with.
    pub(crate) link: Link,
    pub(crate) copy_connections: usize,
    pub(crate) heartbeat: Duration,
    /// Changes while the run goes on.
    pub(crate) throttle: watch::Receiver<v1::Throttle>,
    /// Set where the run is one of tables that join a running task.
    pub(crate) newcomers: Option<Newcomers>,
    /// What is remembered of tables that join this task. Locked as long as an attempt lets tables join.
    pub(crate) joining: Mutex<Memory>,
}

/// Tables that join a task.
pub(crate) struct Newcomers {
    /// The task's source: where the tables are published before they begin.
    task: Source,
    /// Their oids.
    tables: BTreeSet<u32>,
}

impl Run {
    /// Runs until it is finished or failed, and has reported so. May be dropped at any point.
    pub(crate) async fn run(&self, lease: &mut Option<SnapshotLease>) {
        match self.persist(lease).await {
            Ok(()) => self.reporter.finished().await,
            Err(failure) => self.reporter.failed(failure).await,
        }
    }

    /// A run of tables that join this one's task, beside it.
    pub(crate) fn beside(&self, source: Source, heartbeat: Duration, tables: BTreeSet<u32>) -> Self {
        Self {
            source,
            assign: v1::Assign { once: false, ..self.assign.clone() },
            selection: self.selection.clone(),
            link: self.link.clone(),
            reporter: self.reporter.aside(),
            tracker: self.tracker.clone(),
            copy_connections: self.copy_connections,
            heartbeat,
            throttle: self.throttle.clone(),
            mapping: self.mapping.clone(),
            newcomers: Some(Newcomers { task: self.source.clone(), tables }),
            joining: Mutex::default(),
        }
    }

    /// [`persist`](Self::persist) for a run within a run.
    pub(crate) fn persist_boxed<'a>(
        &'a self,
        lease: &'a mut Option<SnapshotLease>,
    ) -> Pin<Box<dyn Future<Output = Result<(), v1::Failure>> + Send + 'a>> {
        Box::pin(self.persist(lease))
    }

    /// One attempt after the other until the run is finished; an error is definite.
    async fn persist(&self, lease: &mut Option<SnapshotLease>) -> Result<(), v1::Failure> {
        let mut backoff = Backoff::default();
        let mut marker = OnceMarker::None;
        let mut put_off = PutOff::None;
        loop {
            let Err(error) = Box::pin(self.attempt(lease, &mut marker, put_off)).await else {
                return Ok(());
            };
            if matches!(error, RunError::TablesJoined) {
                tracing::info!("{error}");
                continue;
            }
            if let Some(changed) = self.streaming_changes(&error).await {
                put_off = changed;
                continue;
            }
            if matches!(error, RunError::SnapshotGone) || error.is_fenced() {
                *lease = None;
            }
            let failure = error.failure();
            if failure.definite {
                return Err(failure);
            }
            if !self.reporter.is_interrupted() {
                backoff.reset();
            }
            let pause = backoff.next();
            self.reporter.interrupted(failure, backoff.attempt(), pause).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether an attempt ended because the next one shall go with or without streaming of transactions in progress. Cannot
    /// come again at once: without streaming nothing puts it off, and it is taken up again for a transaction that is over.
    async fn streaming_changes(&self, error: &RunError) -> Option<PutOff> {
        match error {
            RunError::StreamingPutOff { xid, .. } => {
                self.reporter.notice(error.to_string()).await;
                Some(Some(*xid))
            }
            RunError::StreamingAgain => {
                tracing::info!("{error}");
                Some(None)
            }
            _ => None,
        }
    }
}
