//! A connection that can be cut off.
//!
//! The transport serves each connection in a task of its own that nobody can stop: after a missed drain
//! deadline they would go on, in a process that hosts more than this server for as long as the process lives; and so
//! would one on which nobody ever makes a call.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stream whose reads and writes fail once its token is cancelled.
#[derive(Debug)]
pub struct Abortable<S> {
    stream: S,
    aborted: Pin<Box<WaitForCancellationFutureOwned>>,
    token: CancellationToken,
}

impl<S> Abortable<S> {
    pub(super) fn new(stream: S, token: CancellationToken) -> Self {
        Self { stream, aborted: Box::pin(token.clone().cancelled_owned()), token }
    }

    fn cut() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, "cut off by the server")
    }

    fn check(&self) -> io::Result<()> {
        if self.token.is_cancelled() { Err(Self::cut()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Abortable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A connection always reads, so this alone is what wakes its task.
        self.check()?;
        if self.aborted.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Self::cut()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Abortable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
