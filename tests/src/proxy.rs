//! A TCP proxy on loopback whose connections a test cuts or freezes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Stands between any two parts; ends with its value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    control: watch::Sender<Control>,
    shutdown: CancellationToken,
}

/// What the line is like while it is not disturbed.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Every byte is held back for so long, in each direction.
    delay: Duration,
    /// In each direction of each connection; absent: as fast as it goes.
    bytes_per_second: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Control {
    /// Raised by each cut: a connection made under another number ends.
    generation: u64,
    /// Nothing passes, nothing is refused: what a dead network looks like.
    paused: bool,
    /// New connections are closed at once.
    refusing: bool,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target`.
    pub async fn new(target: SocketAddr) -> Result<Self> {
        Self::over(target, Line::default()).await
    }

    /// Holds every byte back for `delay` in each direction, as a long line does; the rate is not limited.
    pub async fn with_delay(target: SocketAddr, delay: Duration) -> Result<Self> {
        Self::over(target, Line { delay, ..Line::default() }).await
    }

    /// Passes so many bytes a second in each direction of each connection.
    pub async fn with_rate(target: SocketAddr, bytes_per_second: u32) -> Result<Self> {
        Self::over(target, Line { bytes_per_second: Some(bytes_per_second), ..Line::default() }).await
    }

    async fn over(target: SocketAddr, line: Line) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for the proxy")?;
        let port = listener.local_addr()?.port();
        let (control, changes) = watch::channel(Control::default());
        let shutdown = CancellationToken::new();
        tokio::spawn(accept(listener, target, line, changes, shutdown.clone()));
        Ok(Self { port, control, shutdown })
    }

    /// The proxy's own port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection that stands now; new ones are accepted.
    pub fn cut(&self) {
        self.control.send_modify(|control| control.generation += 1);
    }

    /// Freezes everything: no byte passes, no connection ends.
    pub fn pause(&self) {
        self.control.send_modify(|control| control.paused = true);
    }

    /// Breaks every connection and closes new ones at once, until [`Proxy::resume`].
    pub fn refuse(&self) {
        self.control.send_modify(|control| {
            control.generation += 1;
            control.refusing = true;
        });
    }

    /// Ends a [`Proxy::pause`] or [`Proxy::refuse`].
    pub fn resume(&self) {
        self.control.send_modify(|control| {
            control.paused = false;
            control.refusing = false;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    line: Line,
    changes: watch::Receiver<Control>,
    shutdown: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((near, _)) = accepted else { continue };
        if !changes.borrow().refusing {
            let ended = shutdown.child_token();
            tokio::spawn(relay(near, target, line, changes.clone(), ended));
        }
    }
}

async fn relay(
    near: TcpStream,
    target: SocketAddr,
    line: Line,
    changes: watch::Receiver<Control>,
    ended: CancellationToken,
) {
    let generation = changes.borrow().generation;
    let mut cuts = changes.clone();
    let cut = cuts.wait_for(|control| control.generation != generation);
    let work = async {
        let mut gate = changes.clone();
        gate.wait_for(|control| !control.paused).await.ok()?;
        let far = TcpStream::connect(target).await.ok()?;
        near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).ok()?;
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        // Like a broken line, one direction's end does not end the other: half-closed connections pass through.
        tokio::join!(
            pump(near_read, far_write, line, changes.clone()),
            pump(far_read, near_write, line, changes.clone())
        );
        Some(())
    };
    tokio::select! {
        _ = work => {}
        _ = cut => {}
        () = ended.cancelled() => {}
    }
}

/// Copies one direction. The queue between reading and writing is what lets a delay cost no throughput.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    line: Line,
    mut gate: watch::Receiver<Control>,
) {
    // Without a delay the line holds hardly anything, so that its ends feel its rate.
    let pieces_under_way_max = if line.delay.is_zero() { 4 } else { 4096 };
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(pieces_under_way_max);
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + line.delay;
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        let mut free = Instant::now();
        while let Some((due, piece)) = receiver.recv().await {
            if !line.delay.is_zero() || line.bytes_per_second.is_some() {
                tokio::time::sleep_until(due.max(free)).await;
            }
            if gate.wait_for(|control| !control.paused).await.is_err() || to.write_all(&piece).await.is_err()
            {
                return;
            }
            if let (Some(rate), Ok(length)) = (line.bytes_per_second, u32::try_from(piece.len())) {
                free = free.max(due) + Duration::from_secs(1) * length / rate;
            }
        }
        // The end of the stream passes on as an end; a failure of it changes nothing.
        to.shutdown().await.ok();
    };
    tokio::join!(reading, writing);
}
