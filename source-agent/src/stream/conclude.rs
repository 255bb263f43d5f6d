//! The end of a task that no changes follow: the destination builds what waits for all rows, as behind a change stream, and this
//! one brings nothing but the position at which all tables stand.

use strait_proto::v1::{
    self, change::Change as Kind, stream_changes_request, stream_changes_response::Message,
};

use super::start::{self, SinkStream};
use crate::error::{During, RunError};
use crate::reporter::Reporter;
use crate::sink::Sink;

/// Waits until nothing is left to be built.
pub(crate) async fn conclude(sink: &Sink, reporter: &Reporter) -> Result<(), RunError> {
    const DOING: &str = "build what waits for all rows";
    let SinkStream { requests, mut responses, ready } = start::open_sink(sink).await?;
    let begun_lsn = ready.tables.iter().map(|table| table.begin_lsn).max().unwrap_or_default();
    if begun_lsn > ready.resume_lsn {
        let progress = Kind::Progress(v1::Progress { progress_lsn: begun_lsn });
        let changes = vec![v1::Change { change: Some(progress) }];
        let frame = v1::ChangeFrame { sequence: 1, changes, traceparent: String::new() };
        let message = Some(stream_changes_request::Message::Frame(frame));
        // A sink that has gone says so below.
        let _ = requests.send(v1::StreamChangesRequest { message }).await;
    }
    loop {
        let response = responses.message().await.during(DOING)?;
        let response =
            response.ok_or_else(|| RunError::connection("the sink-agent ended the change stream"))?;
        match response.message {
            Some(Message::Object(result)) => reporter.objects(vec![result]).await,
            Some(Message::Notice(notice)) => reporter.notice(notice.text).await,
            Some(Message::Ack(ack)) if ack.foreign_keys_done && ack.durable_lsn >= begun_lsn => return Ok(()),
            _ => {}
        }
    }
}
