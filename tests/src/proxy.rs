//! A TCP proxy on loopback whose connections a test cuts or freezes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Stands between any two parts; ends with its value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    control: watch::Sender<Control>,
    shutdown: CancellationToken,
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
        Self::with_delay(target, Duration::ZERO).await
    }

    /// Holds every byte back for `delay` in each direction, as a long line does; the rate is not limited.
    pub async fn with_delay(target: SocketAddr, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for the proxy")?;
        let port = listener.local_addr()?.port();
        let (control, changes) = watch::channel(Control::default());
        let shutdown = CancellationToken::new();
        tokio::spawn(accept(listener, target, delay, changes, shutdown.clone()));
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
    delay: Duration,
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
            tokio::spawn(relay(near, target, delay, changes.clone(), ended));
        }
    }
}

async fn relay(
    near: TcpStream,
    target: SocketAddr,
    delay: Duration,
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
            pump(near_read, far_write, delay, changes.clone()),
            pump(far_read, near_write, delay, changes.clone())
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
    delay: Duration,
    mut gate: watch::Receiver<Control>,
) {
    const PIECES_UNDER_WAY_MAX: usize = 4096;
    let (sender, mut receiver) =
        tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(PIECES_UNDER_WAY_MAX);
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = tokio::time::Instant::now() + delay;
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = receiver.recv().await {
            if !delay.is_zero() {
                tokio::time::sleep_until(due).await;
            }
            if gate.wait_for(|control| !control.paused).await.is_err() || to.write_all(&piece).await.is_err()
            {
                return;
            }
        }
        // The end of the stream passes on as an end; a failure of it changes nothing.
        to.shutdown().await.ok();
    };
    tokio::join!(reading, writing);
}
