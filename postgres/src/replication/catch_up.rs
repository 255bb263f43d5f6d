//! Reading a slot's changes in slices over SQL, from a temporary copy of it.
//!
//! A walsender sends every message by itself; `pg_logical_slot_get_binary_changes` costs the server a tenth of that for small
//! transactions. It consumes what it returns, so it is called on a copy, which vanishes with its session, while the slot
//! itself goes on guarding everything that is not durable yet.
//!
//! Where transactions in progress are streamed, the server has no need to put the changes of a large one on its disk before
//! it knows that it commits: it decodes it in a third of the time. One that a slice ends within comes again from its
//! beginning with the next slice: decoding begins anew each time, at `restart_lsn`.

use strait_proto::Lsn;

use super::connection::ReplicationConnection;
use super::copy_out::CopyOut;
use super::options::StartOptions;
use crate::{Error, PublicationName, SlotName, quote};

/// Memory for the changes of a slice at the server; what does not fit goes into a temporary file there.
const WORK_MEM: &str = "64MB";

/// How far a copy of a slot has been read, and how far there is something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyPosition {
    /// Every transaction that committed before it has been returned.
    pub confirmed_flush_lsn: Lsn,
    /// Where decoding starts again with each slice: at or before the oldest transaction that is still open there.
    pub restart_lsn: Lsn,
    /// How far the server's log is flushed.
    pub flush_lsn: Lsn,
}

/// What a slice is bounded by, besides the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceBounds {
    /// It ends with the first commit past this position.
    pub upto_lsn: Lsn,
    /// It ends with the first commit after so many messages.
    pub messages: u32,
}

/// A temporary copy of a slot, owned by its session.
pub struct SlotCopy {
    connection: ReplicationConnection,
    name: SlotName,
    /// The function's arguments that are the same for every slice.
    options: String,
}

impl SlotCopy {
    /// Copies `slot`, which may be in use, under the name `name` and moves the copy on to `position_lsn`, where it begins.
    ///
    /// An error says 53400 where the server has no slot free, and 42710 where a session of that name is still there.
    pub async fn create(
        mut connection: ReplicationConnection,
        slot: &SlotName,
        name: SlotName,
        publication: &PublicationName,
        options: StartOptions,
        position_lsn: Lsn,
    ) -> Result<Self, Error> {
        let (from, to) = (quote::literal(slot.as_str()), quote::literal(name.as_str()));
        connection.command(&format!("SET work_mem = '{WORK_MEM}'")).await?;
        connection
            .command(&format!("SELECT pg_catalog.pg_copy_logical_replication_slot({from}, {to}, true)"))
            .await?;
        let publication = quote::literal(&quote::identifier(publication.as_str()));
        let options = format!("{}, 'publication_names', {publication}", options.to_arguments());
        let mut copy = Self { connection, name, options };
        if copy.position().await?.confirmed_flush_lsn < position_lsn {
            copy.connection
                .command(&format!("SELECT pg_catalog.pg_replication_slot_advance({to}, '{position_lsn}')"))
                .await?;
        }
        Ok(copy)
    }

    /// Begins to read the next slice. The server returns it once it has decoded all of it.
    pub async fn slice(&mut self, bounds: SliceBounds) -> Result<CopyOut<'_>, Error> {
        let SliceBounds { upto_lsn, messages } = bounds;
        let statement = format!(
            "COPY (SELECT data FROM pg_catalog.pg_logical_slot_get_binary_changes({}, '{upto_lsn}', {messages}, {})) \
             TO STDOUT (FORMAT binary)",
            quote::literal(self.name.as_str()),
            self.options
        );
        CopyOut::start(&mut self.connection, &statement).await
    }

    /// Where the copy stands between two slices.
    pub async fn position(&mut self) -> Result<CopyPosition, Error> {
        let statement = format!(
            "SELECT confirmed_flush_lsn, restart_lsn, pg_catalog.pg_current_wal_flush_lsn()
               FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
            quote::literal(self.name.as_str())
        );
        let row = self.connection.command_with_row(&statement).await?;
        Ok(CopyPosition {
            confirmed_flush_lsn: row.parse(0)?,
            restart_lsn: row.parse(1)?,
            flush_lsn: row.parse(2)?,
        })
    }
}
