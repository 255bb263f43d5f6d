//! What `strait task show` says of the change stream.

use super::marked;
use super::style::indented;
use super::tables::LABEL;
use super::units::{bytes, count, latency};
use crate::view::{HopBytesView, HopsView, RateLimitsView, StreamView};

/// Several lines, each with its label.
pub(super) fn stream_lines(stream: &StreamView) -> String {
    let line = |label: &str, text: &str| indented(label, LABEL, text);
    let measured = stream.latency_us.map_or_else(|| "not measured yet".to_owned(), latency);
    let mut out = line("latency", &format!("{measured}, {} behind", bytes(stream.lag_bytes)));
    if let Some(hops) = &stream.hops {
        out += &line("", &hops_text(hops));
    }
    if let Some(pending) = &stream.bytes {
        out += &line("still to go", &bytes_text(pending));
    }
    if let Some(oldest) = &stream.oldest_heartbeat {
        let place = match oldest.at {
            "decode" => "not decoded yet",
            "send" => "waits to be sent",
            _ => "on its way to the destination",
        };
        out += &line("heartbeat", &format!("{} old, {place}", latency(oldest.age_us)));
    }
    if let Some(throttle) = &stream.throttle {
        let effect =
            if stream.throttled { "it is what limits the stream now" } else { "it limits nothing now" };
        out += &line("throttle", &format!("{}; {effect}", limits_text(throttle)));
    }
    let position = |lsn: &Option<String>| lsn.clone().unwrap_or_else(|| "-".to_owned());
    out += &line(
        "changes",
        &format!(
            "{} transactions, {} changes, {} conflicts since the last connect",
            count(stream.transactions),
            count(stream.changes),
            count(stream.conflicts)
        ),
    );
    out += &line(
        "positions",
        &format!(
            "source {}, received {}, applied {}, durable {}, confirmed {}",
            position(&stream.source_lsn),
            position(&stream.received_lsn),
            position(&stream.applied_lsn),
            position(&stream.durable_lsn),
            position(&stream.confirmed_flush_lsn)
        ),
    );
    out += &line("fetched by", stream.mode.unwrap_or("-"));
    out += &line("slot keeps", &bytes(stream.retained_bytes));
    out + &marked::conflict_lines(&stream.table_conflicts) + &marked::issue_lines(&stream.table_issues)
}

/// `500 rows/s, 20.0 MB/s`
pub(super) fn limits_text(limits: &RateLimitsView) -> String {
    let rows = limits.rows_per_second.map(|rows| format!("{} rows/s", count(rows)));
    #[allow(clippy::cast_precision_loss)]
    let bytes = limits.bytes_per_second.map(|bytes| format!("{} MB/s", bytes as f64 / 1e6));
    rows.into_iter().chain(bytes).collect::<Vec<_>>().join(", ")
}

fn hops_text(hops: &HopsView) -> String {
    format!(
        "decode {}, send {}, network {} each way, apply {}, durable {}",
        latency(hops.decode_us),
        latency(hops.send_us),
        latency(hops.network_us),
        latency(hops.apply_us),
        latency(hops.durable_us)
    )
}

fn bytes_text(pending: &HopBytesView) -> String {
    format!(
        "{} to decode, {} to send, {} to apply, {} to be durable; {} in flight",
        bytes(pending.to_decode_bytes),
        bytes(pending.to_send_bytes),
        bytes(pending.to_apply_bytes),
        bytes(pending.to_durable_bytes),
        bytes(pending.in_flight_bytes)
    )
}

#[cfg(test)]
mod tests {
    use strait_proto::v1;

    use super::*;

    #[test]
    fn hops_oldest_heartbeat_and_throttle_are_told() {
        let stream = StreamView::from(&v1::StreamProgress {
            hops: Some(v1::HopLatency { decode_us: 1_000, network_us: 50_000, ..v1::HopLatency::default() }),
            bytes: Some(v1::HopBytes { to_send: 2048, ..v1::HopBytes::default() }),
            oldest_heartbeat_us: 7_000_000,
            oldest_heartbeat_at: v1::Hop::Send.into(),
            throttle: Some(v1::RateLimits { rows_per_second: 1500, bytes_per_second: 500_000 }),
            throttled: true,
            ..v1::StreamProgress::default()
        });
        let text = stream_lines(&stream).split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            "decode 1.0 ms, send 0.0 ms, network 50 ms each way",
            "0 B to decode, 2.0 KiB to send",
            "heartbeat 7.0 s old, waits to be sent",
            "throttle 1,500 rows/s, 0.5 MB/s; it is what limits the stream now",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
