//! The gate: passes PostgreSQL's protocol on, and looks at every statement on its way to the server.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::rules::Rules;

/// Codes in the place of a protocol version (PostgreSQL, Message Formats).
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

#[derive(Debug)]
pub(super) struct Gate {
    port: u16,
    shutdown: CancellationToken,
}

impl Gate {
    /// Listens on a free port.
    pub(super) async fn open(target: SocketAddr, rules: Rules) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for the gate")?;
        let port = listener.local_addr()?.port();
        let shutdown = CancellationToken::new();
        tokio::spawn(accept(listener, target, Arc::new(rules), shutdown.clone()));
        Ok(Self { port, shutdown })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, rules: Arc<Rules>, shutdown: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((near, _)) = accepted else { continue };
        let (rules, ended) = (Arc::clone(&rules), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                // A connection that breaks is the client's to notice.
                _ = pass(near, target, &rules) => {}
                () = ended.cancelled() => {}
            }
        });
    }
}

async fn pass(mut near: TcpStream, target: SocketAddr, rules: &Rules) -> Result<()> {
    near.set_nodelay(true)?;
    let startup = loop {
        let message = startup_message(&mut near).await?;
        match u32::from_be_bytes(message[4..8].try_into()?) {
            SSL_REQUEST | GSS_REQUEST => near.write_all(b"N").await?,
            _ => break message,
        }
    };
    let mut far = TcpStream::connect(target).await?;
    far.set_nodelay(true)?;
    far.write_all(&startup).await?;
    if startup[4..8] == CANCEL_REQUEST.to_be_bytes() {
        return Ok(());
    }
    let ((near_read, mut near_write), (mut far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        ended = to_server(near_read, far_write, rules) => ended,
        copied = tokio::io::copy(&mut far_read, &mut near_write) => copied.map(drop).map_err(Into::into),
    }
}

/// The first message has a length and no type.
async fn startup_message(near: &mut TcpStream) -> Result<Vec<u8>> {
    let length = near.read_u32().await?;
    let mut message = vec![0; length as usize];
    if message.len() < 8 {
        bail!("a startup message of {length} bytes");
    }
    message[..4].copy_from_slice(&length.to_be_bytes());
    near.read_exact(&mut message[4..]).await?;
    Ok(message)
}

async fn to_server(mut near: OwnedReadHalf, mut far: OwnedWriteHalf, rules: &Rules) -> Result<()> {
    loop {
        let kind = near.read_u8().await?;
        let length = near.read_u32().await?;
        let mut body = vec![0; (length as usize).saturating_sub(4)];
        near.read_exact(&mut body).await?;
        let body = match kind {
            b'Q' => {
                let (sql, rest) = text(&body)?;
                [rules.simple(sql).await.as_bytes(), &[0], rest].concat()
            }
            b'P' => {
                let (name, rest) = text(&body)?;
                let (sql, rest) = text(rest)?;
                [name.as_bytes(), &[0], rules.prepared(sql).await.as_bytes(), &[0], rest].concat()
            }
            _ => body,
        };
        let mut message = vec![kind];
        message.extend_from_slice(&u32::try_from(body.len() + 4)?.to_be_bytes());
        message.extend_from_slice(&body);
        far.write_all(&message).await?;
    }
}

/// A text up to its zero, and what follows.
fn text(bytes: &[u8]) -> Result<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0).context("a text without an end")?;
    Ok((std::str::from_utf8(&bytes[..end])?, &bytes[end + 1..]))
}
