//! A started stream: its messages, and the task that tells the walsender where we stand.

use std::sync::Arc;
use std::time::Duration;

use strait_postgres::replication::{ReplicationReader, ReplicationWriter};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::positions::Positions;
use super::status;
use crate::error::RunError;

/// Both halves of a stream. Dropped, it closes the connection.
pub(super) struct Walsender {
    pub(super) reader: ReplicationReader,
    /// Ends only where it broke, or was finished.
    pub(super) status: AbortOnDropHandle<Result<(), RunError>>,
    finish: CancellationToken,
}

impl Walsender {
    pub(super) fn new(
        reader: ReplicationReader,
        mut writer: ReplicationWriter,
        positions: Arc<Positions>,
        every: Duration,
    ) -> Self {
        let finish = CancellationToken::new();
        let finished = finish.clone();
        let status = async move {
            tokio::select! {
                broken = status::run(&mut writer, &positions, every) => broken,
                () = finished.cancelled() => {
                    // A status update may be half written; the connection ends either way.
                    writer.finish().await;
                    Ok(())
                }
            }
        };
        Self { reader, status: AbortOnDropHandle::new(tokio::spawn(status.in_current_span())), finish }
    }

    /// Ends the stream in order, so that the slot is free at once.
    pub(super) async fn finish(self) {
        self.finish.cancel();
        if let Ok(Err(error)) = self.status.await {
            tracing::debug!(%error, "end the change stream");
        }
    }
}
