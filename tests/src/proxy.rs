//! A TCP proxy on loopback whose connections a test cuts or freezes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    passed: Arc<AtomicU64>,
    cut_at: Arc<AtomicU64>,
    shutdown: CancellationToken,
}

/// Counts what passes to the target, and cuts where it has been told to.
#[derive(Clone, Debug)]
struct Meter {
    passed: Arc<AtomicU64>,
    cut_at: Arc<AtomicU64>,
    control: watch::Sender<Control>,
}

impl Meter {
    /// How much of a piece passes: none of it beyond the cut.
    fn pass(&self, length: usize) -> usize {
        let length = length as u64;
        let before = self.passed.fetch_add(length, Ordering::Relaxed);
        let cut_at = self.cut_at.load(Ordering::Relaxed);
        if before.saturating_add(length) < cut_at {
            return length as usize;
        }
        if self.cut_at.swap(u64::MAX, Ordering::Relaxed) == u64::MAX {
            return length as usize;
        }
        cut_at.saturating_sub(before) as usize
    }

    fn cut(&self) {
        self.control.send_modify(|control| control.generation += 1);
    }
}

/// What the line is like while it is not disturbed.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Every byte is held back for so long, in each direction.
    delay: Duration,
    /// In each direction of each connection; absent: as fast as it goes.
    bytes_per_second: Option<u32>,
    /// Every piece takes up to so much longer, at random; none overtakes another.
    jitter: Duration,
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

    /// A line between continents: 80 ms there and back, 100 Mbit/s, and not always the same.
    pub async fn long_line(target: SocketAddr) -> Result<Self> {
        let (delay, jitter) = (Duration::from_millis(40), Duration::from_millis(5));
        Self::over(target, Line { delay, bytes_per_second: Some(100_000_000 / 8), jitter }).await
    }

    /// Bytes that have passed to the target since the start.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Breaks every connection once so many bytes more have passed to the target, wherever in a message that is.
    pub fn cut_after(&self, bytes: u64) {
        let at = self.passed().saturating_add(bytes);
        self.cut_at.store(at, Ordering::Relaxed);
    }

    async fn over(target: SocketAddr, line: Line) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for the proxy")?;
        let port = listener.local_addr()?.port();
        let (control, changes) = watch::channel(Control::default());
        let shutdown = CancellationToken::new();
        let (passed, cut_at) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let meter =
            Meter { passed: Arc::clone(&passed), cut_at: Arc::clone(&cut_at), control: control.clone() };
        tokio::spawn(accept(listener, target, line, changes, meter, shutdown.clone()));
        Ok(Self { port, control, passed, cut_at, shutdown })
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
    meter: Meter,
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
            tokio::spawn(relay(near, target, line, changes.clone(), meter.clone(), ended));
        }
    }
}

async fn relay(
    near: TcpStream,
    target: SocketAddr,
    line: Line,
    changes: watch::Receiver<Control>,
    meter: Meter,
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
            pump(near_read, far_write, line, changes.clone(), Some(meter)),
            pump(far_read, near_write, line, changes.clone(), None)
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
    meter: Option<Meter>,
) {
    // Without a delay the line holds hardly anything, so that its ends feel its rate.
    let pieces_under_way_max = if line.delay.is_zero() { 4 } else { 4096 };
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(pieces_under_way_max);
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let jitter = line.jitter.mul_f64(rand::random());
            let due = Instant::now() + line.delay + jitter;
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
            let passing = meter.as_ref().map_or(piece.len(), |meter| meter.pass(piece.len()));
            if gate.wait_for(|control| !control.paused).await.is_err()
                || to.write_all(&piece[..passing]).await.is_err()
            {
                return;
            }
            if let Some(meter) = meter.as_ref().filter(|_| passing < piece.len()) {
                meter.cut();
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
