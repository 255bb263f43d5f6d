//! Writes one chunk: its line in the ledger, its rows, in one transaction.

use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt as _;
use strait_postgres::Client;
use strait_postgres::quote::{identifier, qualified};
use strait_proto::v1::{self, CopyChunkHeader, CopyChunkResponse, copy_chunk_request::Message};
use tonic::Streaming;

use crate::error::{Context as _, Error};
use crate::session::Session;
use crate::store::{ChunkLine, enter_chunk, enter_chunk_rows, has_stage, in_transaction, stage_name};

/// Copies the chunk that `header` announced and `inbound` brings.
pub(crate) async fn copy_chunk(
    session: &Session,
    header: CopyChunkHeader,
    inbound: Streaming<v1::CopyChunkRequest>,
) -> Result<CopyChunkResponse, Error> {
    let table = session.table(header.table_id)?;
    let name = table.table_name();
    let line = ChunkLine { table_id: header.table_id, generation: header.generation, chunk: header.chunk };
    let claim = session.claim();
    let connection = session.writing_connection().await?;
    let client = connection.client();
    let response = in_transaction(client, &connection.begin(&claim.begin_sql()), async {
        if let Some(rows) = enter_chunk(client, &claim, line).await? {
            return Ok(CopyChunkResponse { rows, existed: true });
        }
        // The lock on the table's line keeps the copy from beginning over meanwhile.
        let stage = stage_name(&claim.task_id, line.table_id);
        let name = if has_stage(client, &stage).await? { &stage } else { &name };
        let (written, counted) = if header.columns.is_empty() {
            insert_empty_rows(client, name, inbound).await?
        } else {
            copy(client, name, &header, inbound).await?
        };
        if written != counted {
            return Err(Error::NotNow(format!(
                "chunk {} of table {name}: the source sent {counted} rows, the destination wrote {written}",
                line.chunk
            )));
        }
        enter_chunk_rows(client, &claim, line, written).await?;
        Ok(CopyChunkResponse { rows: written, existed: false })
    })
    .await?;
    session.give_back(connection);
    Ok(response)
}

/// Returns how many rows were written, and how many the source counted.
async fn copy(
    client: &Client,
    name: &v1::TableName,
    header: &CopyChunkHeader,
    inbound: Streaming<v1::CopyChunkRequest>,
) -> Result<(u64, u64), Error> {
    let doing = || format!("copy chunk {} of table {name}", header.chunk);
    let columns: Vec<String> = header.columns.iter().map(|column| identifier(column)).collect();
    let statement =
        format!("COPY {} ({}) FROM STDIN", qualified(&name.schema, &name.name), columns.join(", "));
    let sink = client.copy_in::<_, Bytes>(&statement).await.context(doing())?;
    let mut sink = pin!(sink);
    let mut rows = Rows { inbound };
    while let Some(data) = rows.next().await? {
        match data {
            Part::Data(data) => sink.send(data).await.context(doing())?,
            Part::End { counted } => {
                let written = sink.finish().await.context(doing())?;
                return Ok((written, counted));
            }
        }
    }
    // The sink is dropped: the server ends the COPY with an error, and nothing of the chunk stays.
    Err(Error::protocol("a chunk without an end"))
}

/// COPY cannot name no column: of a table without any that arrive, a row is what its defaults make of it.
async fn insert_empty_rows(
    client: &Client,
    name: &v1::TableName,
    inbound: Streaming<v1::CopyChunkRequest>,
) -> Result<(u64, u64), Error> {
    let mut rows = Rows { inbound };
    while let Some(data) = rows.next().await? {
        if let Part::End { counted } = data {
            let statement = format!(
                "INSERT INTO {} SELECT FROM generate_series(1, {counted})",
                qualified(&name.schema, &name.name)
            );
            let written = client.execute(&statement, &[]).await.context(format!("copy table {name}"))?;
            return Ok((written, counted));
        }
    }
    Err(Error::protocol("a chunk without an end"))
}

/// What follows the header.
struct Rows {
    inbound: Streaming<v1::CopyChunkRequest>,
}

enum Part {
    Data(Bytes),
    End { counted: u64 },
}

impl Rows {
    async fn next(&mut self) -> Result<Option<Part>, Error> {
        let request = self.inbound.message().await.map_err(|status| {
            tracing::debug!(%status, "a chunk broke off");
            Error::Stopped
        })?;
        match request.map(|request| request.message) {
            None => Ok(None),
            Some(Some(Message::Data(data))) => Ok(Some(Part::Data(data))),
            Some(Some(Message::End(end))) => Ok(Some(Part::End { counted: end.rows })),
            Some(Some(Message::Header(_)) | None) => {
                Err(Error::protocol("a chunk has one header, which comes first"))
            }
        }
    }
}

/// The first message of a chunk.
pub(crate) async fn header(inbound: &mut Streaming<v1::CopyChunkRequest>) -> Result<CopyChunkHeader, Error> {
    let first = inbound.message().await.map_err(|_| Error::Stopped)?;
    match first.and_then(|request| request.message) {
        Some(Message::Header(header)) => Ok(header),
        _ => Err(Error::protocol("a chunk begins with its header")),
    }
}
