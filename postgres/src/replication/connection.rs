//! A replication session before it streams.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use postgres_protocol::message::backend::Message;
use strait_proto::Lsn;
use tokio::io::split;

use super::cancel::CancelOnDrop;
use super::frames::Frames;
use super::query::{self, Row};
use super::reader::ReplicationReader;
use super::timeline::{self, TimelineSwitch};
use super::writer::ReplicationWriter;
use super::{CreatedSlot, SlotLifetime, StartOptions, SystemIdentity, authenticate};
use crate::dial::{self, Login, SERVER_ROLE_SQL, ServerRole, Session};
use crate::error::ServerError;
use crate::transport::{Route, SocketOptions, Transport};
use crate::{ConnectionUri, Error, PublicationName, SlotName, quote};

/// Lets the walsender, which sends each message on its own, run ahead of a reader that is busy for a moment.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Status updates that nobody acknowledges for so long mean that the server is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// CopyBothResponse.
const TAG_COPY_BOTH: u8 = b'W';
const TAG_ERROR: u8 = b'E';

/// A replication session that waits for commands.
///
/// Dropping the future of a command leaves the session unusable; drop the session too, which cancels the
/// command.
pub struct ReplicationConnection {
    pub(super) frames: Frames<Transport>,
    pub(super) cancel: CancelOnDrop,
}

impl ReplicationConnection {
    /// Opens a session in logical replication mode, with the pinned settings.
    ///
    /// `application_name` wins over the URI's, unless it is empty. An error names the address and says what
    /// to do.
    pub async fn connect(uri: &ConnectionUri, application_name: &str) -> Result<Self, Error> {
        dial::dial(uri, application_name).await
    }

    /// Which cluster this is.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, Error> {
        let row = self.command_with_row("IDENTIFY_SYSTEM").await?;
        Ok(SystemIdentity {
            system_identifier: row.text(0)?.to_owned(),
            timeline: row.parse(1)?,
            flush_lsn: row.parse(2)?,
        })
    }

    /// The ancestors of a timeline, oldest first; none for the first.
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<Vec<TimelineSwitch>, Error> {
        if timeline <= 1 {
            // The first timeline has no history file.
            return Ok(Vec::new());
        }
        let row = self.command_with_row(&format!("TIMELINE_HISTORY {timeline}")).await?;
        timeline::parse(&String::from_utf8_lossy(row.bytes(1)?))
    }

    /// Creates a slot for pgoutput and exports the snapshot at its beginning, which stands until this session
    /// runs its next command or ends.
    ///
    /// Waits for every transaction that is open at the source; there is no limit to that but the caller's.
    pub async fn create_slot(
        &mut self,
        slot: &SlotName,
        lifetime: SlotLifetime,
    ) -> Result<CreatedSlot, Error> {
        // EXPORT_SNAPSHOT is understood by every version; the other form, from 15 on, takes further options.
        let (temporary, options) = match lifetime {
            SlotLifetime::Permanent { failover: true } => ("", "(SNAPSHOT 'export', FAILOVER true)"),
            SlotLifetime::Permanent { failover: false } => ("", "EXPORT_SNAPSHOT"),
            SlotLifetime::Temporary => (" TEMPORARY", "EXPORT_SNAPSHOT"),
        };
        let command = format!(
            "CREATE_REPLICATION_SLOT {}{temporary} LOGICAL pgoutput {options}",
            quote::identifier(slot.as_str())
        );
        let row = self.command_with_row(&command).await?;
        Ok(CreatedSlot { consistent_point: row.parse(1)?, snapshot_name: row.text(2)?.to_owned() })
    }

    /// Drops a slot; one that another session reads is an error (55006), one that is not there too (42704).
    pub async fn drop_slot(&mut self, slot: &SlotName) -> Result<(), Error> {
        self.command(&format!("DROP_REPLICATION_SLOT {}", quote::identifier(slot.as_str()))).await?;
        Ok(())
    }

    /// Starts the stream of a slot, with values as text.
    ///
    /// It begins with the first transaction whose commit ends past `start_lsn` and past the slot's confirmed
    /// position.
    pub async fn start(
        mut self,
        slot: &SlotName,
        start_lsn: Lsn,
        publication: &PublicationName,
        options: StartOptions,
    ) -> Result<(ReplicationReader, ReplicationWriter), Error> {
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {start_lsn} ({}, publication_names {})",
            quote::identifier(slot.as_str()),
            options.to_sql(),
            quote::literal(&quote::identifier(publication.as_str()))
        );
        self.cancel.command_begins();
        query::send(&mut self.frames, &command).await?;
        loop {
            self.frames.wait().await?;
            if self.frames.tag() == Some(TAG_COPY_BOTH) {
                self.frames.take_frame()?;
                break;
            }
            match self.frames.next_message().await? {
                Message::ErrorResponse(body) => {
                    self.cancel.command_ended();
                    return Err(ServerError::from_fields(body.fields())?.into());
                }
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                _ => {
                    return Err(Error::Protocol("out of turn in the answer to START_REPLICATION".to_owned()));
                }
            }
        }
        self.cancel.command_ended();
        let (frames, writer) = self.frames.map(split);
        Ok((ReplicationReader::new(frames), ReplicationWriter::new(writer)))
    }

    /// Looks whether the connection, and so a snapshot that it exported, still stands, without sending
    /// anything: a command would end the snapshot.
    ///
    /// It notices that the server has closed the connection or has gone. A network that silently drops
    /// packets is noticed by TCP keepalives, after about a minute.
    pub async fn probe(&mut self) -> Result<(), Error> {
        while let Some(more) = self.read_available().await {
            let more = more?;
            while let Some(frame) = self.frames.take_frame()? {
                if frame.tag == TAG_ERROR {
                    return Err(ServerError::from_body(&frame.body).into());
                }
            }
            if !more {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Whether [`probe`](Self::probe) finds the connection standing.
    pub async fn is_alive(&mut self) -> bool {
        self.probe().await.is_ok()
    }

    /// Whether the session is encrypted.
    pub fn is_encrypted(&mut self) -> bool {
        self.frames.stream_mut().is_encrypted()
    }

    /// Reads what has arrived, `Some(false)` at the end; `None` where there is nothing to read now.
    async fn read_available(&mut self) -> Option<Result<bool, Error>> {
        let mut read = pin!(self.frames.read_more());
        poll_fn(|context| match read.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    pub(super) async fn command(&mut self, command: &str) -> Result<Vec<Row>, Error> {
        self.cancel.command_begins();
        query::send(&mut self.frames, command).await?;
        let result = query::rows(&mut self.frames).await;
        self.cancel.command_ended();
        result
    }

    pub(super) async fn command_with_row(&mut self, command: &str) -> Result<Row, Error> {
        let rows = self.command(command).await?;
        rows.into_iter().next().ok_or_else(|| Error::Protocol("the answer has no row".to_owned()))
    }
}

impl Session for ReplicationConnection {
    const SOCKET: SocketOptions =
        SocketOptions { receive_buffer_bytes: Some(RECEIVE_BUFFER_BYTES), user_timeout: Some(USER_TIMEOUT) };

    async fn establish(transport: Transport, login: &Login<'_>, route: &Route) -> Result<Self, Error> {
        let mut frames = Frames::new(transport);
        let key = authenticate::startup(&mut frames, login).await?;
        Ok(Self { frames, cancel: CancelOnDrop::new(route.clone(), key) })
    }

    async fn role(&mut self) -> Result<ServerRole, Error> {
        let row = self.command_with_row(SERVER_ROLE_SQL).await?;
        Ok(ServerRole::from_columns(Some(row.text(0)?), Some(row.text(1)?)))
    }
}
