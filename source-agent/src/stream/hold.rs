//! Holding a stream back for a moment: nothing more is sent while it lasts, and everything else goes on.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether a stream is held. Clones are of the same stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold(Arc<watch::Sender<bool>>);

/// Lets the stream go when it is dropped.
#[derive(Debug)]
pub(crate) struct Held(Hold);

impl Hold {
    /// Holds the stream.
    pub(crate) fn begin(&self) -> Held {
        self.0.send_replace(true);
        Held(self.clone())
    }

    /// Waits while the stream is held.
    pub(super) async fn pass(&self) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|held| !held).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_passes_once_it_is_let_go() {
        let hold = Hold::default();
        hold.pass().await;
        let held = hold.begin();
        assert!(timeout(Duration::from_secs(1), hold.pass()).await.is_err());
        drop(held);
        hold.pass().await;
    }
}
