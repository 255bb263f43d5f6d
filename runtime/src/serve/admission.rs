//! Connections that come in: accepted, encrypted, and kept only if somebody known makes a call in time.
//!
//! ```text
//!   accept ─► a place ─► handshake ─► the transport ─► first call that is let in: the place is free again
//!               │            └────────────┴─► not within the deadline: cut
//!               └─► none free: closed at once
//! ```
//!
//! So whoever only opens connections, or drips bytes into them, takes places among strangers, whose number is bounded,
//! and no more: sessions that run have left theirs.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::abortable::Abortable;
use super::refusals::Refusals;
use crate::security::{Peer, Security, Stream, prepare};

/// How many connections may be without a call that was let in.
const STRANGERS_MAX: usize = 512;
/// How many of them may come from one address.
const STRANGERS_BY_ADDRESS_MAX: usize = 128;
/// How long a connection has for its first call, its handshake included.
const STRANGER_DEADLINE: Duration = Duration::from_secs(10);
/// How many connections lie between the handshake and the transport.
pub(super) const READY_MAX: usize = 16;
/// The pause after a connection could not be accepted, for instance because the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a call can know of the connection that it came by.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    /// Whom the client's certificate names.
    pub(super) peer: Option<Peer>,
    /// Nobody needs a certificate.
    pub(super) plain_text: bool,
    place: Arc<Place>,
}

impl Connection {
    /// One that this side has dialled, to be called by `peer`.
    pub(super) fn dialled(address: SocketAddr, peer: Option<Peer>) -> Self {
        let place = Arc::new(Place::outside(address.ip()));
        Self { address, plain_text: peer.is_none(), peer, place }
    }

    /// Cancelled with the first call that is let in, or with the connection's end.
    pub(super) fn taken(&self) -> CancellationToken {
        self.place.freed.clone()
    }

    /// A call was let in: the connection may stay.
    pub(super) fn admit(&self) {
        self.place.free();
    }
}

/// A connection as the transport takes it.
pub(super) struct Incoming {
    pub(super) stream: Abortable<Stream>,
    pub(super) connection: Connection,
}

/// How connections are taken in.
pub(super) struct Admission {
    pub(super) security: Security,
    /// Clients without a certificate may connect: their calls may carry something else.
    pub(super) anonymous: bool,
    pub(super) refusals: Arc<Refusals>,
    /// Cuts every connection.
    pub(super) abort: CancellationToken,
}

impl Admission {
    /// Takes connections in until nobody wants them any more.
    pub(super) fn accept(self, listener: TcpListener, sender: mpsc::Sender<io::Result<Incoming>>) {
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = Arc::new(self).run(listener, sender.clone()) => {}
            }
        });
    }

    async fn run(self: Arc<Self>, listener: TcpListener, ready: mpsc::Sender<io::Result<Incoming>>) {
        let places = Arc::new(Places::default());
        loop {
            let (socket, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = places.take(address.ip()) else {
                self.refusals.tell(address.ip(), "too many connections that make no call");
                continue;
            };
            tokio::spawn(Arc::clone(&self).take_in(socket, address, place, ready.clone()));
        }
    }

    async fn take_in(
        self: Arc<Self>,
        socket: TcpStream,
        address: SocketAddr,
        place: Arc<Place>,
        ready: mpsc::Sender<io::Result<Incoming>>,
    ) {
        let abort = self.abort.child_token();
        let establish = self.establish(socket);
        let taken_in = tokio::select! {
            established = establish => established,
            () = ready.closed() => return,
            () = tokio::time::sleep(STRANGER_DEADLINE) => Err("no handshake in time".to_owned()),
        };
        let (stream, peer) = match taken_in {
            Ok(taken_in) => taken_in,
            Err(reason) => return self.refusals.tell(address.ip(), &reason),
        };
        let plain_text = matches!(self.security, Security::PlainText);
        let connection = Connection { address, peer, plain_text, place: Arc::clone(&place) };
        let incoming = Incoming { stream: Abortable::new(stream, abort.clone()), connection };
        if ready.send(Ok(incoming)).await.is_err() {
            return;
        }
        tokio::select! {
            () = place.freed.cancelled() => {}
            () = tokio::time::sleep(STRANGER_DEADLINE) => {
                self.refusals.tell(address.ip(), "no call in time");
                abort.cancel();
            }
        }
    }

    /// Why not is for the log alone: a handshake that fails tells the client by itself.
    async fn establish(&self, socket: TcpStream) -> Result<(Stream, Option<Peer>), String> {
        prepare(&socket).map_err(|error| error.to_string())?;
        let Security::Mutual(identity) = &self.security else { return Ok((Stream::Plain(socket), None)) };
        let config = identity.server(self.anonymous).map_err(|error| error.to_string())?;
        let stream = TlsAcceptor::from(config).accept(socket).await.map_err(|error| error.to_string())?;
        let peer = match stream.get_ref().1.peer_certificates() {
            Some([certificate, ..]) => Some(peer(certificate)?),
            _ => None,
        };
        Ok((Stream::Tls(Box::new(stream.into())), peer))
    }
}

fn peer(certificate: &CertificateDer<'_>) -> Result<Peer, String> {
    Peer::of_certificate(certificate).map_err(|error| error.to_string())
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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

impl Connected for Incoming {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

/// Who has not made a call that was let in, by address.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Place>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= STRANGERS_MAX {
            return None;
        }
        let of_address = taken.entry(address).or_default();
        if *of_address >= STRANGERS_BY_ADDRESS_MAX {
            return None;
        }
        *of_address += 1;
        Some(Arc::new(Place { places: Arc::clone(self), address, freed: CancellationToken::new() }))
    }

    fn give_back(&self, address: IpAddr) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = taken.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.remove(&address);
            }
        }
    }
}

/// One of the places, freed at the latest when its connection is gone.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
    freed: CancellationToken,
}

impl Place {
    /// One that is nobody else's.
    fn outside(address: IpAddr) -> Self {
        Self { places: Arc::default(), address, freed: CancellationToken::new() }
    }

    fn free(&self) {
        if !self.freed.is_cancelled() {
            self.places.give_back(self.address);
            self.freed.cancel();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_places_and_gives_back_what_it_took() {
        let places = Arc::new(Places::default());
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut taken: Vec<_> = std::iter::from_fn(|| places.take(address(1))).take(STRANGERS_MAX).collect();
        assert_eq!(taken.len(), STRANGERS_BY_ADDRESS_MAX);
        taken.extend((2..=255).map_while(|n| places.take(address(n))));
        assert_eq!(taken.len(), STRANGERS_BY_ADDRESS_MAX + 254);
        // Freed and dropped counts once.
        taken[0].free();
        taken.clear();
        assert!(places.0.lock().unwrap().is_empty());
    }
}
