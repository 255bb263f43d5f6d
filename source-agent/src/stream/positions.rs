//! Where the stream stands: one set of counters that its parts share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use strait_proto::{Lsn, v1};
use tokio::sync::{Notify, watch};

use super::marks::TableMarks;

/// Positions in the source's log, each of which only grows within a session.
#[derive(Debug)]
pub(super) struct Positions {
    source: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    applied: AtomicU64,
    durable: AtomicU64,
    confirmed: AtomicU64,
    changes: AtomicU64,
    transactions: AtomicU64,
    conflicts: AtomicU64,
    foreign_keys_done: AtomicBool,
    mode: AtomicI32,
    pub(super) marks: Arc<TableMarks>,
    acked: watch::Sender<()>,
    /// The walsender wants to hear from us, or there is something to tell it.
    pub(super) status_due: Notify,
}

impl Positions {
    /// Everything before `resume_lsn` is durable at the destination.
    pub(super) fn new(resume_lsn: Lsn, marks: Arc<TableMarks>) -> Self {
        let position = || AtomicU64::new(resume_lsn.0);
        Self {
            source: position(),
            received: position(),
            sent: position(),
            applied: position(),
            durable: position(),
            confirmed: AtomicU64::new(0),
            changes: AtomicU64::default(),
            transactions: AtomicU64::default(),
            conflicts: AtomicU64::default(),
            foreign_keys_done: AtomicBool::default(),
            mode: AtomicI32::default(),
            marks,
            acked: watch::Sender::new(()),
            status_due: Notify::new(),
        }
    }

    /// The end of the source's log when it was last looked at.
    pub(super) fn source(&self) -> Lsn {
        load(&self.source)
    }

    pub(super) fn set_source(&self, source_lsn: Lsn) {
        raise(&self.source, source_lsn);
    }

    /// How changes are fetched at present.
    pub(super) fn set_mode(&self, mode: v1::StreamMode) {
        self.mode.store(mode.into(), Ordering::Relaxed);
    }

    /// Read from the slot up to here.
    pub(super) fn received(&self) -> Lsn {
        load(&self.received)
    }

    pub(super) fn set_received(&self, received_lsn: Lsn) {
        raise(&self.received, received_lsn);
    }

    /// Handed to the connection to the sink up to here.
    pub(super) fn sent(&self) -> Lsn {
        load(&self.sent)
    }

    pub(super) fn set_sent(&self, sent_lsn: Lsn) {
        raise(&self.sent, sent_lsn);
    }

    /// Visible at the destination up to here.
    pub(super) fn applied(&self) -> Lsn {
        load(&self.applied)
    }

    /// Survives a crash of the destination up to here.
    pub(super) fn durable(&self) -> Lsn {
        load(&self.durable)
    }

    /// Confirmed to the slot up to here.
    pub(super) fn confirmed(&self) -> Lsn {
        load(&self.confirmed)
    }

    pub(super) fn set_confirmed(&self, confirmed_flush_lsn: Lsn) {
        raise(&self.confirmed, confirmed_flush_lsn);
    }

    pub(super) fn foreign_keys_done(&self) -> bool {
        self.foreign_keys_done.load(Ordering::Acquire)
    }

    /// Takes an acknowledgement over, which was checked.
    pub(super) fn set_acked(&self, ack: &v1::Ack) {
        raise(&self.applied, Lsn(ack.applied_lsn));
        raise(&self.durable, Lsn(ack.durable_lsn));
        self.changes.store(ack.changes, Ordering::Relaxed);
        self.transactions.store(ack.transactions, Ordering::Relaxed);
        self.conflicts.store(ack.conflicts, Ordering::Relaxed);
        self.marks.count(&ack.table_conflicts);
        self.foreign_keys_done.store(ack.foreign_keys_done, Ordering::Release);
        self.acked.send_replace(());
        self.status_due.notify_one();
    }

    /// Tells of every acknowledgement from now on.
    pub(super) fn acks(&self) -> watch::Receiver<()> {
        self.acked.subscribe()
    }

    /// What a person sees; what the source alone knows is left at zero.
    pub(super) fn progress(&self) -> v1::StreamProgress {
        v1::StreamProgress {
            received_lsn: self.received().0,
            applied_lsn: self.applied().0,
            durable_lsn: self.durable().0,
            confirmed_flush_lsn: self.confirmed().0,
            transactions: self.transactions.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            mode: self.mode.load(Ordering::Relaxed),
            table_conflicts: self.marks.conflicts(),
            table_issues: self.marks.issues(),
            ..Default::default()
        }
    }
}

fn load(position: &AtomicU64) -> Lsn {
    Lsn(position.load(Ordering::Acquire))
}

fn raise(position: &AtomicU64, to: Lsn) {
    position.fetch_max(to.0, Ordering::AcqRel);
}
