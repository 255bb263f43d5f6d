//! What the source-agent talks to, in memory: a coordinator that assigns one task, and a sink that keeps rows.

pub(crate) mod coordinator;
pub(crate) mod postgres;
pub(crate) mod sink;
pub(crate) mod table;

use std::time::Duration;

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within a minute");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
