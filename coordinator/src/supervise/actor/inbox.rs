//! What reaches an actor, turned into events.

use std::sync::Arc;

use strait_proto::Epoch;
use strait_proto::v1::{self, report};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep};

use super::{AFTER_DEFECT, Actor, Change, Message, chain};
use crate::clock::now_us;
use crate::error::RequestError;
use crate::supervise::work::{Begin, Done, Halt};
use crate::supervise::{StartOptions, lines};
use crate::task::failure::not_connected;
use crate::task::precheck::{confirm, unconfirmed};
use crate::task::spec::{Changes, Standing, changes};
use crate::task::{Event, Operation, Phase, Side, State, TaskRecord};

impl Actor {
    pub(super) async fn received(&mut self, message: Message) {
        match message {
            Message::Asked { operation, options, reply } => {
                let answer = self.asked(operation, options).await;
                // A caller that left misses nothing: what was asked for is stored.
                let _ = reply.send(answer);
            }
            Message::Updated { spec, reply } => {
                let answer = self.updated(spec).await;
                // As above.
                let _ = reply.send(answer);
            }
            Message::Confirmed { items, reply } => {
                let answer = self.confirmed(&items).await;
                // As above.
                let _ = reply.send(answer);
            }
            Message::Retried { results, reply } => {
                self.remember_objects(results).await;
                // As above.
                let _ = reply.send(());
            }
            Message::Noted { line } => self.note(vec![line]).await,
            Message::Reported { side, epoch, report } => self.reported(side, epoch, *report).await,
        }
    }

    async fn asked(&mut self, operation: Operation, options: StartOptions) -> Result<(), RequestError> {
        if operation == Operation::Precheck && self.is_prechecking {
            return Err(RequestError::PrecheckRunning);
        }
        self.source.refresh();
        self.sink.refresh();
        let starts = operation == Operation::Start;
        if starts && options.confirmed {
            let open = unconfirmed(&self.record.precheck);
            if self.record.state != State::Ready || !open.is_empty() {
                return Err(RequestError::Unconfirmed(open));
            }
        }
        let once = starts.then_some(options.once);
        self.apply(&Change { once, ..Event::Asked(operation).into() }).await
    }

    async fn confirmed(&mut self, items: &[String]) -> Result<(), RequestError> {
        let (precheck, confirmed) = confirm(&self.record.precheck, items).map_err(|strangers| {
            let message = format!("are no warnings of the last precheck: {}", strangers.join(", "));
            RequestError::invalid("items", message)
        })?;
        if confirmed.is_empty() {
            return Ok(());
        }
        let news = vec![format!("warnings confirmed: {}", confirmed.join(", "))];
        self.save(TaskRecord { precheck, ..TaskRecord::clone(&self.record) }, news).await?;
        self.publish();
        Ok(())
    }

    /// Only what may change in this state; the source-agent is told by the next look at who is there.
    async fn updated(&mut self, mut spec: Box<v1::TaskSpec>) -> Result<(), RequestError> {
        if spec.name.is_empty() && self.record.name_generated {
            spec.name.clone_from(&self.record.spec.name);
        }
        let record = &self.record;
        let grows = !record.once && spec.synchronizes(v1::Synchronization::Incremental);
        let standing = Standing::of(&record.state, record.assigned, grows);
        let Changes { differences, effect } =
            changes(&record.spec, &spec, standing).map_err(RequestError::NotChangeable)?;
        if differences.is_empty() {
            return Ok(());
        }
        let news = lines::updated(&differences);
        self.source.refresh();
        self.sink.refresh();
        let event = Event::Asked(Operation::Update(effect));
        self.apply(&Change { spec: Some(spec), news, ..event.into() }).await?;
        self.follow_agents();
        self.source.outdated();
        Ok(())
    }

    async fn reported(&mut self, side: Side, epoch: Epoch, report: report::Report) {
        if epoch != self.record.epoch {
            let current = self.record.epoch;
            tracing::debug!(task = %self.record.task_id, %epoch, %current, "a report of another epoch");
            return;
        }
        let event = match report {
            report::Report::Phase(reached) => match Phase::from_task_state(reached.phase()) {
                Some(phase) => Event::PhaseReached { side, phase },
                None => return tracing::warn!(task = %self.record.task_id, "a report of what is no phase"),
            },
            report::Report::Interrupted(interrupted) => {
                let retry_in_us =
                    i64::try_from(interrupted.retry_in_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
                Event::Interrupted {
                    failure: interrupted.failure.unwrap_or_default(),
                    attempt: interrupted.attempt,
                    next_attempt_us: now_us().saturating_add(retry_in_us),
                }
            }
            report::Report::Failed(failure) => Event::AgentFailed { failure },
            report::Report::Finished(_) => Event::AgentFinished,
            report::Report::Progress(progress) => return self.progressed(progress),
            report::Report::Objects(objects) => return self.remember_objects(objects.results).await,
            report::Report::Notice(notice) => return self.note(vec![notice.text]).await,
            // The session has told whoever waits for it.
            report::Report::Stopped(_) => return,
        };
        self.apply_surely(event.into()).await;
    }

    pub(super) async fn done(&mut self, done: Done) {
        match done {
            Done::Prechecked(mut precheck) => {
                self.is_prechecking = false;
                precheck.keep_confirmed(&self.record.precheck);
                let (passed, news) = (precheck.passed(), precheck.lines());
                let event = Event::Prechecked { passed };
                let change = Change { precheck: Some(precheck), news, ..event.into() };
                self.apply_surely(change).await;
            }
            Done::Stopped { source, sink } => {
                let mut news = Vec::new();
                for (contact, halt) in [(&mut self.source, source), (&mut self.sink, sink)] {
                    let Halt { stopped_in, line } = halt;
                    if let Some(session_id) = stopped_in {
                        contact.stopped_in(session_id);
                    }
                    news.extend(line);
                }
                self.apply_surely(Change { news, ..Event::Stopped.into() }).await;
            }
            Done::Released { side, result: Ok(actions) } => {
                let news = lines::released(side, &actions);
                self.apply_surely(Change { news, ..Event::SideReleased { side }.into() }).await;
            }
            Done::Released { side, result: Err(failure) } => {
                let begin = if failure == not_connected(side, self.record.agent(side)) {
                    Begin::Connected
                } else {
                    Begin::After(self.release_pauses[side as usize].next())
                };
                self.apply_surely(Event::ReleaseBlocked { side, failure }.into()).await;
                self.release(side, begin);
            }
        }
    }

    /// A defect. What was under way begins again, as after a restart.
    pub(super) async fn broke_off(&mut self, error: &JoinError) {
        tracing::error!(task = %self.record.task_id, %error, "work on a task broke off; it begins again");
        self.work.shutdown().await;
        self.is_prechecking = false;
        sleep(AFTER_DEFECT).await;
        self.apply_surely(Event::Restored.into()).await;
    }

    fn progressed(&mut self, news: v1::TaskProgress) {
        let mut progress = self.progress.as_deref().cloned().unwrap_or_default();
        progress.copy = news.copy.or(progress.copy);
        progress.stream = news.stream.or(progress.stream);
        self.progress = Some(Arc::new(progress));
        self.progress_due.get_or_insert_with(|| Instant::now() + self.supervisor.timings.progress_save);
        self.publish();
    }

    pub(super) async fn save_progress(&mut self) {
        if self.progress_due.take().is_none() {
            return;
        }
        if let Err(error) = self.save(TaskRecord::clone(&self.record), Vec::new()).await {
            let error = chain(&error);
            tracing::warn!(task = %self.record.task_id, error, "could not store the progress");
        }
    }

    async fn remember_objects(&mut self, results: Vec<v1::ObjectResult>) {
        let merged = self.objects.merge(results);
        let mut news = lines::failed_objects(&merged.news);
        if merged.left_out > 0 {
            news.push(format!("{} results are not kept: the task has too many objects", merged.left_out));
        }
        if !news.is_empty() {
            self.note(news).await;
        }
        if let Err(error) = self.supervisor.store.save_objects(&self.record.task_id, merged.news).await {
            let error = chain(&error);
            tracing::error!(task = %self.record.task_id, error, "could not store object results");
        }
        self.publish();
    }

    async fn note(&mut self, lines: Vec<String>) {
        match self.supervisor.store.append_events(&self.record.task_id, lines).await {
            Ok(last_event_id) => {
                self.last_event_id = last_event_id;
                self.revision += 1;
                self.publish();
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(task = %self.record.task_id, error, "could not store an event");
            }
        }
    }
}
