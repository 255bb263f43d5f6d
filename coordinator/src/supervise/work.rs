//! What takes a while and runs beside a task's actor: prechecks, stops and releases. Each ends in a [`Done`]
//! that the actor turns into an event; none of them decides anything.

use std::sync::Arc;
use std::time::Duration;

use strait_proto::v1::{self, PrecheckItem, command, command_result};
use tokio::time::{sleep, timeout};

use super::ask::ask_in;
use super::contact::Contact;
use crate::registry::{Session, Sessions, StopError};
use crate::task::failure::{self, no_answer, not_connected, not_stopped};
use crate::task::precheck::{Precheck, agent_item, endpoint_item, unanswered_item};
use crate::task::{Side, TaskRecord};
use crate::timings::Timings;

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Prechecked(Precheck),
    Stopped {
        source: Halt,
        sink: Halt,
    },
    /// The actions taken, or the obstacle.
    Released {
        side: Side,
        result: Result<Vec<String>, v1::Failure>,
    },
}

/// How one agent stopped.
#[derive(Debug)]
pub(super) struct Halt {
    /// The session in which it said so.
    pub(super) stopped_in: Option<u64>,
    /// For the events, where it did not say so.
    pub(super) line: Option<String>,
}

/// When an attempt at a release begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    Now,
    After(Duration),
    /// When the agent is there.
    Connected,
}

/// One agent with what is to be done there; outlives the agent's sessions.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    side: Side,
    task: Arc<TaskRecord>,
    sessions: Sessions,
    timings: Timings,
    /// How much longer an agent that is not connected is waited for.
    patience: Duration,
}

impl Errand {
    pub(super) fn new(task: &Arc<TaskRecord>, contact: &Contact, timings: Timings) -> Self {
        let patience = contact
            .overdue_at()
            .map_or(timings.contact_grace, |at| at.saturating_duration_since(tokio::time::Instant::now()));
        Self { side: contact.side(), task: task.clone(), sessions: contact.sessions(), timings, patience }
    }

    fn agent(&self) -> &str {
        self.task.agent(self.side)
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.sessions.borrow().clone().filter(|session| !session.is_ended())
    }

    async fn connected(&mut self) -> Option<Arc<Session>> {
        let is_there =
            |session: &Option<Arc<Session>>| session.as_ref().is_some_and(|session| !session.is_ended());
        // None as well when the registry is gone, which is when the coordinator ends.
        self.sessions.wait_for(is_there).await.ok().and_then(|session| session.clone())
    }

    async fn connected_in_time(&mut self) -> Option<Arc<Session>> {
        let patience = self.patience;
        let session = timeout(patience, self.connected()).await.ok().flatten();
        self.patience = self.timings.contact_grace;
        session
    }

    /// Asks in this session and, where it ends without an answer, in the next one.
    async fn ask(
        &mut self,
        request_id: &str,
        command: &command::Command,
    ) -> Result<command_result::Result, v1::Failure> {
        let patience = self.timings.command_wait;
        let asked = timeout(patience, async {
            loop {
                let session = self.connected_in_time().await?;
                if let Ok(answer) = session.ask(request_id, command.clone()).await {
                    return Some(answer);
                }
            }
        });
        match asked.await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(not_connected(self.side, self.agent())),
            Err(_) => Err(no_answer(self.side, self.agent())),
        }
    }
}

/// Asks the source-agent, then the sink-agent, which gets to know what the source-agent found.
pub(super) async fn precheck(source: Errand, sink: Errand) -> Done {
    let mut items = Vec::new();
    let summary = precheck_side(source, None, &mut items).await;
    precheck_side(sink, summary, &mut items).await;
    Done::Prechecked(Precheck { items })
}

async fn precheck_side(
    mut errand: Errand,
    source: Option<v1::SourceSummary>,
    items: &mut Vec<PrecheckItem>,
) -> Option<v1::SourceSummary> {
    let side = errand.side;
    let session = errand.connected_in_time().await;
    items.push(agent_item(side, errand.agent(), session.as_deref().map(Session::hello)));
    items.push(endpoint_item(side, &errand.task, session?.hello()));
    if items.last().is_some_and(|item| item.outcome() == v1::PrecheckOutcome::Failed) {
        return None;
    }
    let (task_id, spec) = (errand.task.task_id.to_string(), Some(errand.task.spec.clone()));
    let command = command::Command::Precheck(v1::PrecheckCommand { task_id, spec, source });
    let request_id = format!("precheck-{}-{:016x}", errand.task.task_id, rand::random::<u64>());
    let answer = errand.ask(&request_id, &command).await;
    match answer.and_then(|answer| answered_precheck(side, answer)) {
        Ok(result) => {
            items.extend(result.items);
            result.source
        }
        Err(failure) => {
            items.push(unanswered_item(side, &failure));
            None
        }
    }
}

fn answered_precheck(side: Side, answer: command_result::Result) -> Result<v1::PrecheckResult, v1::Failure> {
    match answer {
        command_result::Result::Precheck(result) => Ok(result),
        command_result::Result::Failure(failure) => Err(failure),
        _ => Err(wrong_answer(side)),
    }
}

/// Stops the source-agent first, so that what it read still reaches the destination.
pub(super) async fn stop(source: Errand, sink: Errand) -> Done {
    let source = halt(&source).await;
    let sink = halt(&sink).await;
    Done::Stopped { source, sink }
}

async fn halt(errand: &Errand) -> Halt {
    let (side, agent) = (errand.side, errand.agent());
    let fenced = |what: &str| Halt {
        stopped_in: None,
        line: Some(format!(
            "{side} {agent} {what}: it is told to stop when it is back, and fenced off from then on"
        )),
    };
    let Some(session) = errand.current() else {
        return fenced("is not connected");
    };
    match session.stop(&errand.task.task_id, errand.task.epoch, errand.timings.stop_wait).await {
        Ok(()) => Halt { stopped_in: Some(session.id()), line: None },
        Err(StopError::Ended) => fenced("left while it was stopping"),
        Err(StopError::Unanswered) => fenced("has not confirmed that it stopped"),
    }
}

/// One attempt at removing what is left on one side. The agent is stopped first, each time: it may be a new
/// process.
pub(super) async fn release(mut errand: Errand, begin: Begin) -> Done {
    match begin {
        Begin::Now => {}
        Begin::After(pause) => sleep(pause).await,
        Begin::Connected => drop(errand.connected().await),
    }
    let result = attempt_release(&mut errand).await;
    Done::Released { side: errand.side, result }
}

async fn attempt_release(errand: &mut Errand) -> Result<Vec<String>, v1::Failure> {
    let (side, agent) = (errand.side, errand.agent().to_owned());
    let session = errand.current().ok_or_else(|| not_connected(side, &agent))?;
    let stopped = session.stop(&errand.task.task_id, errand.task.epoch, errand.timings.stop_wait).await;
    stopped.map_err(|error| match error {
        StopError::Ended => no_answer(side, &agent),
        StopError::Unanswered => not_stopped(side, &agent),
    })?;
    let (task_id, spec) = (errand.task.task_id.to_string(), Some(errand.task.spec.clone()));
    let command = command::Command::Release(v1::ReleaseCommand { task_id, spec });
    // Always the same, so that an agent that is still at it does not begin a second time.
    let request_id = format!("release-{}-{}", errand.task.task_id, errand.task.epoch);
    match ask_in(&session, (side, &agent), &request_id, command, errand.timings.command_wait).await? {
        command_result::Result::Release(result) => Ok(result.actions),
        _ => Err(wrong_answer(side)),
    }
}

pub(super) fn wrong_answer(side: Side) -> v1::Failure {
    failure::other(
        format!("the {side} answered another question"),
        "update the agent to the coordinator's version".to_owned(),
    )
}
