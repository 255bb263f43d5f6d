//! What comes back from the sink: acknowledgements, credit, results, notices.

use std::time::Duration;

use strait_proto::Lsn;
use strait_proto::v1::{self, stream_changes_response::Message};
use strait_runtime::telemetry::names;
use strait_runtime::trace_context::continue_from;
use tokio::time::Instant;
use tonic::Streaming;

use super::credit::Credit;
use super::heartbeat::Heartbeats;
use super::latency::Acked;
use super::positions::Positions;
use crate::error::{During, RunError};
use crate::reporter::Reporter;

/// Who is told of what comes back.
pub(super) struct Acks<'a> {
    pub(super) positions: &'a Positions,
    pub(super) credit: &'a Credit,
    pub(super) heartbeats: &'a Heartbeats,
    pub(super) reporter: &'a Reporter,
    /// Where the session began.
    pub(super) resume_lsn: Lsn,
}

impl Acks<'_> {
    /// Reads until the stream ends, which is always an error.
    pub(super) async fn run(
        &self,
        responses: &mut Streaming<v1::StreamChangesResponse>,
    ) -> Result<(), RunError> {
        loop {
            let response = responses.message().await.during("send changes to the sink")?;
            let Some(response) = response else {
                return Err(RunError::connection("the sink-agent ended the change stream"));
            };
            match response.message {
                Some(Message::Ack(ack)) => self.ack(&ack).await?,
                Some(Message::Credit(credit)) => self.credit.grant(credit.bytes),
                Some(Message::Object(result)) => self.reporter.objects(vec![result]).await,
                Some(Message::Notice(notice)) => self.reporter.notice(notice.text).await,
                Some(Message::StreamingPutOff(put_off)) => {
                    return Err(RunError::StreamingPutOff { xid: put_off.xid, reason: put_off.reason });
                }
                Some(Message::Issue(issue)) => self.issue(&issue).await,
                Some(Message::Ready(_)) => {
                    return Err(RunError::transient("the sink-agent opened the change stream twice"));
                }
                // A message that a newer sink-agent may send.
                None => {}
            }
        }
    }

    async fn issue(&self, issue: &v1::TableIssue) {
        self.positions.marks.mark(issue);
        let table = issue.table.clone().unwrap_or_default();
        self.reporter.notice(format!("table {table} is suspended: {}. {}", issue.reason, issue.remedy)).await;
    }

    async fn ack(&self, ack: &v1::Ack) -> Result<(), RunError> {
        if !ack.traceparent.is_empty() {
            let span = tracing::info_span!(parent: None, names::SPAN_ACK);
            continue_from(&span, &ack.traceparent);
        }
        check(ack, self.positions.sent())?;
        self.positions.set_acked(ack);
        let acked = Acked {
            applied_lsn: Lsn(ack.applied_lsn),
            durable_lsn: Lsn(ack.durable_lsn),
            frame: ack.applied_frame,
            held: Duration::from_micros(ack.applied_frame_us),
        };
        self.heartbeats.acked(acked, Instant::now());
        if self.positions.durable() > self.resume_lsn {
            self.reporter.moved().await;
        }
        Ok(())
    }
}

/// A position that is confirmed is forgotten by the source, so one that cannot be right is never passed on.
fn check(ack: &v1::Ack, sent_lsn: Lsn) -> Result<(), RunError> {
    let (applied_lsn, durable_lsn) = (Lsn(ack.applied_lsn), Lsn(ack.durable_lsn));
    if durable_lsn <= applied_lsn && applied_lsn <= sent_lsn {
        return Ok(());
    }
    Err(RunError::definite(
        format!(
            "the sink-agent acknowledged {applied_lsn} as applied and {durable_lsn} as durable, but was sent changes up \
             to {sent_lsn} only"
        ),
        "This should not happen: report it. Nothing was confirmed to the source.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_past_what_was_sent_is_never_confirmed() {
        for (applied_lsn, durable_lsn, valid) in [
            (0, 0, true),
            (100, 100, true),
            (100, 50, true),
            (50, 100, false),
            (101, 50, false),
            (101, 101, false),
        ] {
            let ack = v1::Ack { applied_lsn, durable_lsn, ..Default::default() };
            assert_eq!(check(&ack, Lsn(100)).is_ok(), valid, "{ack:?}");
        }
    }
}
