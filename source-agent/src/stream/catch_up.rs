//! Working off a long backlog in slices over SQL.
//!
//! ```text
//!   slot ─ copy ─► fetch: slice, slice, … ──(chunks, bounded)──► shape ─► frames
//!    ▲                 the server decodes the next one while this one is sent and applied
//!    └── moved to what is durable, now and then
//! ```
//!
//! The copy may be consumed freely: the slot itself still guards everything that is not durable. It moves by
//! `pg_replication_slot_advance` meanwhile, and by nothing but the durable position.
//!
//! Near the end the stream is started, and slices go on until it speaks: what a walsender has to skip first, it skips
//! while nobody waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strait_postgres::replication::{CopyPosition, SlotCopy};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_util::task::AbortOnDropHandle;

use super::forward::Forward;
use super::mode::{AfterSlice, Chooser};
use super::positions::Positions;
use super::slot_access::SlotAccess;
use super::walsender::Walsender;
use crate::error::{During, RunError};
use crate::source::Source;

/// Payloads are handed over in chunks of about so many bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks between fetching and shaping: what an ordinary slice brings fits in, so that the server decodes the next one while
/// this one is shaped, sent and applied.
const CHUNKS_MAX: usize = 192;
/// Near the end there is a pause after each slice, as long as it took or this.
const NEAR_END_PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often the slot itself is moved. Each time the server reads the log from the slot's restart position on.
const ADVANCE_INTERVAL: Duration = Duration::from_secs(10);

/// A session of reading in slices.
pub(super) struct CatchUp<'a> {
    pub(super) slot: &'a SlotAccess,
    pub(super) forward: &'a mut Forward,
    pub(super) chooser: &'a mut Chooser,
}

/// What fetching tells.
enum Fetched {
    Chunk(Vec<Bytes>),
    /// The end of a slice, and what was decided.
    Slice(CopyPosition, AfterSlice),
}

impl CatchUp<'_> {
    /// Reads slices until the stream has taken over, or has to be started because slices will not do.
    pub(super) async fn run(self, copy: SlotCopy) -> Result<Option<Walsender>, RunError> {
        tracing::info!(position_lsn = %self.forward.shape.position_lsn(), "working off a backlog in slices");
        let (chunks, mut fetched) = mpsc::channel(CHUNKS_MAX);
        let chooser = std::mem::take(self.chooser);
        let mut fetching = AbortOnDropHandle::new(tokio::spawn(fetch(copy, chooser, chunks)));
        let advancing = advance(self.slot.source.clone(), Arc::clone(&self.slot.positions));
        let mut advancing = Some(AbortOnDropHandle::new(tokio::spawn(advancing)));
        let mut walsender: Option<Walsender> = None;
        loop {
            tokio::select! {
                biased;
                // Not within a slice: what is begun is ended the way it came.
                spoken = speaks(&mut walsender), if self.forward.shape.is_between_transactions() => {
                    spoken?;
                    tracing::info!("the backlog is worked off: changing to the stream");
                    break;
                }
                ended = failed(&mut advancing) => return Err(ended),
                next = fetched.recv() => match next {
                    Some(Fetched::Chunk(payloads)) => {
                        for payload in payloads {
                            self.forward.message(payload).await?;
                        }
                    }
                    Some(Fetched::Slice(position, after)) => {
                        self.slot.positions.set_source(position.flush_lsn);
                        self.forward.end_slice(position.confirmed_flush_lsn).await?;
                        self.forward.flush().await?;
                        match after {
                            AfterSlice::GoOn(_) => {}
                            AfterSlice::NearEnd(_) if walsender.is_some() => {}
                            AfterSlice::NearEnd(_) => {
                                // From here on the walsender holds the slot and moves it.
                                advancing = None;
                                let position_lsn = self.forward.shape.position_lsn();
                                walsender = Some(self.slot.stream(position_lsn).await?);
                                // So that it has something to say even where nobody writes.
                                self.forward.heartbeats.emit(&self.slot.client).await?;
                            }
                            AfterSlice::Repeats => {
                                tracing::info!("a transaction is open for long, or very large: changing to the stream");
                                break;
                            }
                        }
                    }
                    None => {
                        // It ends before we do only where it failed.
                        *self.chooser = (&mut fetching).await??;
                        return Err(RunError::transient("reading the backlog ended"));
                    }
                },
            }
        }
        drop(fetched);
        *self.chooser = fetching.await??;
        Ok(walsender)
    }
}

/// Waits until a stream that was started has something to say; for ever without one.
async fn speaks(walsender: &mut Option<Walsender>) -> Result<(), RunError> {
    let Some(walsender) = walsender else {
        return std::future::pending().await;
    };
    walsender.reader.wait().await.during("start the change stream")
}

/// Waits until a task has failed; for ever without one.
async fn failed(task: &mut Option<AbortOnDropHandle<Result<Infallible, RunError>>>) -> RunError {
    let Some(task) = task else {
        return std::future::pending().await;
    };
    match task.await {
        Ok(Err(error)) => error,
        Err(panicked) => panicked.into(),
    }
}

/// Fetches slices, until nobody takes them any more or slices will not do; gives the chooser back.
async fn fetch(
    mut copy: SlotCopy,
    mut chooser: Chooser,
    chunks: mpsc::Sender<Fetched>,
) -> Result<Chooser, RunError> {
    const DOING: &str = "read the backlog";
    let mut position = copy.position().await.during(DOING)?;
    let mut committed = false;
    // Between slices near the end; the first of those reads what the last long one has left.
    let (mut pause, mut near_end) = (Duration::ZERO, false);
    loop {
        let after = chooser.next(position, committed, Instant::now());
        if chunks.send(Fetched::Slice(position, after)).await.is_err() {
            return Ok(chooser);
        }
        let bounds = match after {
            AfterSlice::GoOn(bounds) => bounds,
            AfterSlice::NearEnd(bounds) => {
                tokio::time::sleep(pause).await;
                near_end = true;
                bounds
            }
            AfterSlice::Repeats => return Ok(chooser),
        };
        let begun = Instant::now();
        let mut slice = copy.slice(bounds).await.during(DOING)?;
        committed = false;
        let (mut chunk, mut bytes, mut messages) = (Vec::new(), 0, 0_u64);
        let mut decoded = None;
        loop {
            let payload = match slice.next().await {
                Ok(Some(payload)) => payload,
                Ok(None) => break,
                Err(error) if messages == 0 && lacks_room(&error) => {
                    tracing::warn!(%error, "the source has no room for a slice: changing to the stream");
                    chooser.refused(Instant::now());
                    // Nobody to take it means that the session has ended.
                    let _ = chunks.send(Fetched::Slice(position, AfterSlice::Repeats)).await;
                    return Ok(chooser);
                }
                Err(error) => return Err(error).during(DOING),
            };
            decoded.get_or_insert_with(Instant::now);
            committed |= ends_transaction(&payload);
            messages += 1;
            bytes += payload.len();
            chunk.push(payload);
            if bytes >= CHUNK_BYTES {
                bytes = 0;
                let next = Vec::with_capacity(chunk.len());
                if chunks.send(Fetched::Chunk(std::mem::replace(&mut chunk, next))).await.is_err() {
                    return Ok(chooser);
                }
            }
        }
        if !chunk.is_empty() && chunks.send(Fetched::Chunk(chunk)).await.is_err() {
            return Ok(chooser);
        }
        position = copy.position().await.during(DOING)?;
        let took = begun.elapsed();
        if near_end {
            pause = took.max(NEAR_END_PAUSE_MIN);
        }
        tracing::debug!(
            messages,
            decoded_after = ?decoded.map(|decoded| decoded - begun),
            ?took,
            position_lsn = %position.confirmed_flush_lsn,
            "read a slice"
        );
    }
}

/// The server may not write as large a temporary file, or has no disk for it.
fn lacks_room(error: &strait_postgres::Error) -> bool {
    matches!(error.sqlstate(), Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED | &SqlState::DISK_FULL))
}

/// Whether a message is a commit, of a whole transaction or of one that was streamed (PostgreSQL, Logical Replication Message
/// Formats).
fn ends_transaction(payload: &Bytes) -> bool {
    matches!(payload.first(), Some(b'C' | b'c'))
}

/// Moves the slot itself to what is durable, for ever: no walsender does it meanwhile.
async fn advance(source: Source, positions: Arc<Positions>) -> Result<Infallible, RunError> {
    const DOING: &str = "move the replication slot to what is durable";
    const SQL: &str = "SELECT pg_catalog.pg_replication_slot_advance($1, $2::text::pg_lsn)";
    let mut ticks = interval(ADVANCE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    // The task's other connection must not wait for it.
    let client = source.connect().await.during(DOING)?;
    loop {
        ticks.tick().await;
        let durable_lsn = positions.durable();
        if durable_lsn <= positions.confirmed() {
            continue;
        }
        let parameters: [&(dyn ToSql + Sync); 2] = [&source.slot.as_str(), &durable_lsn.to_string()];
        client.execute(SQL, &parameters).await.during(DOING)?;
        positions.set_confirmed(durable_lsn);
    }
}
