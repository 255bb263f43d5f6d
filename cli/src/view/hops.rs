//! Where changes are on their way, and how long each part of it takes.

use serde::Serialize;
use strait_proto::v1::{self, Hop};

/// Of the slowest heartbeat lately. Each is a duration on the clock of one host.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HopsView {
    /// Commit at the source to decoded.
    pub(crate) decode_us: u64,
    /// Decoded to sent: waiting for credit or for the throttle.
    pub(crate) send_us: u64,
    /// One way to the sink-agent.
    pub(crate) network_us: u64,
    /// Received to visible at the destination.
    pub(crate) apply_us: u64,
    /// Visible to safe from a crash.
    pub(crate) durable_us: u64,
}

/// What each hop has before it, in bytes of the source's log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HopBytesView {
    pub(crate) to_decode_bytes: u64,
    pub(crate) to_send_bytes: u64,
    pub(crate) to_apply_bytes: u64,
    pub(crate) to_durable_bytes: u64,
    /// Encoded frames that were sent and are not consumed.
    pub(crate) in_flight_bytes: u64,
}

/// The oldest heartbeat that is not visible at the destination yet. Left out where the stream is idle.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OldestView {
    pub(crate) age_us: u64,
    /// decode, send, destination: the part of the way that it is in.
    pub(crate) at: &'static str,
}

impl From<&v1::HopLatency> for HopsView {
    fn from(hops: &v1::HopLatency) -> Self {
        let v1::HopLatency { decode_us, send_us, network_us, apply_us, durable_us } = *hops;
        Self { decode_us, send_us, network_us, apply_us, durable_us }
    }
}

impl From<&v1::HopBytes> for HopBytesView {
    fn from(bytes: &v1::HopBytes) -> Self {
        Self {
            to_decode_bytes: bytes.to_decode,
            to_send_bytes: bytes.to_send,
            to_apply_bytes: bytes.to_apply,
            to_durable_bytes: bytes.to_durable,
            in_flight_bytes: bytes.in_flight,
        }
    }
}

impl OldestView {
    pub(crate) fn of(stream: &v1::StreamProgress) -> Option<Self> {
        let at = match stream.oldest_heartbeat_at() {
            Hop::Unspecified => return None,
            Hop::Decode => "decode",
            Hop::Send => "send",
            Hop::Destination => "destination",
        };
        Some(Self { age_us: stream.oldest_heartbeat_us, at })
    }
}
