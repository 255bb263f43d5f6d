//! Cancelling a command whose future was dropped.
//!
//! Creating a slot waits for every transaction that is open at the source, perhaps for hours. A server does
//! not look at its client's socket meanwhile: it would go on waiting, and leave a slot behind that nobody
//! asked for any more.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::authenticate::BackendKey;
use crate::transport::Route;

const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a cancel request when it is dropped while a command runs.
pub(super) struct CancelOnDrop {
    route: Route,
    key: BackendKey,
    command_runs: bool,
}

impl CancelOnDrop {
    pub(super) fn new(route: Route, key: BackendKey) -> Self {
        Self { route, key, command_runs: false }
    }

    pub(super) fn command_begins(&mut self) {
        self.command_runs = true;
    }

    pub(super) fn command_ended(&mut self) {
        self.command_runs = false;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if !self.command_runs {
            return;
        }
        // Without a runtime the process ends, and its other connections with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (route, BackendKey { process_id, secret_key }) = (self.route.clone(), self.key);
        runtime.spawn(async move {
            match timeout(CANCEL_TIMEOUT, route.cancel(process_id, secret_key)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(error = error.failure().cause, "cancel a replication command")
                }
                Err(_) => tracing::debug!("cancelling a replication command took too long"),
            }
        });
    }
}
