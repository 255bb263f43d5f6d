use std::time::Duration;

use strait_proto::v1::command_result::Result as Answer;
use strait_proto::v1::coordinator_message::Message;
use strait_proto::v1::{
    CommandResult, EndpointInfo, Hello, PrecheckCommand, PrecheckResult, RunningTask, command,
};
use strait_proto::{Epoch, TaskId};

use super::*;

fn key(name: &str) -> AgentKey {
    AgentKey { side: Side::Source, name: name.into() }
}

fn hello(name: &str) -> Hello {
    Hello {
        agent: name.into(),
        role: Side::Source.role().into(),
        endpoints: vec![EndpointInfo { name: "orders".into(), ..EndpointInfo::default() }],
        running: vec![RunningTask { task_id: "aaaaaaaaaaaa".into(), epoch: 7 }],
        ..Hello::default()
    }
}

fn task_id() -> TaskId {
    "aaaaaaaaaaaa".parse().unwrap()
}

#[tokio::test]
async fn a_newer_session_replaces_the_older_one() {
    let registry = Registry::default();
    let sessions = registry.follow(&key("eu-1"));
    assert!(sessions.borrow().is_none());
    assert_eq!(registry.list(), []);
    let (older, _outbox) = registry.connect(key("eu-1"), hello("eu-1")).unwrap();
    let (newer, _outbox) = registry.connect(key("eu-1"), hello("eu-1")).unwrap();
    assert_eq!(older.ended().await, SessionEnd::Replaced);
    registry.disconnect(&older);
    assert_eq!(sessions.borrow().as_ref().map(|session| session.id()), Some(newer.id()));
    assert!(registry.list()[0].connected);
    registry.disconnect(&newer);
    assert!(sessions.borrow().is_none());
    let listed = registry.list();
    assert!(!listed[0].connected && listed[0].last_seen_us > 0 && listed[0].endpoints.len() == 1);
}

#[tokio::test]
async fn the_same_name_in_the_other_role_is_another_agent() {
    let registry = Registry::default();
    let (source, _outbox) = registry.connect(key("one"), hello("one")).unwrap();
    let sink = AgentKey { side: Side::Sink, name: "one".into() };
    registry.connect(sink, hello("one")).unwrap();
    assert!(!source.is_ended());
    assert_eq!(registry.list().len(), 2);
}

#[tokio::test]
async fn sessions_are_bounded_but_an_agent_may_always_come_back() {
    let registry = Registry::default();
    let sessions: Vec<_> =
        (0..SESSIONS_MAX).map(|n| registry.connect(key(&n.to_string()), hello("any")).unwrap()).collect();
    assert!(matches!(registry.connect(key("more"), hello("more")), Err(TooManySessions)));
    assert!(registry.connect(key("0"), hello("0")).is_ok());
    drop(sessions);
}

#[tokio::test]
async fn an_answer_reaches_whoever_asked() {
    let registry = Registry::default();
    let (session, mut outbox) = registry.connect(key("eu-1"), hello("eu-1")).unwrap();
    let answering = async {
        let Some(Message::Command(command)) = outbox.recv().await.unwrap().message else { panic!() };
        let result = Some(Answer::Precheck(PrecheckResult::default()));
        session.answered(CommandResult { request_id: "another".into(), result: result.clone() });
        session.answered(CommandResult { request_id: command.request_id, result });
    };
    let asked = session.ask("r1", command::Command::Precheck(PrecheckCommand::default()));
    let (answer, ()) = tokio::join!(asked, answering);
    assert_eq!(answer, Ok(Answer::Precheck(PrecheckResult::default())));
}

#[tokio::test]
async fn whoever_asked_learns_that_the_session_ended() {
    let registry = Registry::default();
    let (session, _outbox) = registry.connect(key("eu-1"), hello("eu-1")).unwrap();
    let asked = session.ask("r1", command::Command::Precheck(PrecheckCommand::default()));
    let task_id = task_id();
    let stopped = session.stop(&task_id, Epoch(1), Duration::from_secs(60));
    let ending = async { registry.disconnect(&session) };
    let (answer, stopped, ()) = tokio::join!(asked, stopped, ending);
    assert_eq!((answer, stopped), (Err(SessionEnded), Err(StopError::Ended)));
    assert_eq!(session.revoke(&task_id, Epoch(1)), Err(SessionEnded));
}

#[tokio::test]
async fn a_stop_counts_from_its_epoch_on() {
    let registry = Registry::default();
    let (session, mut outbox) = registry.connect(key("eu-1"), hello("eu-1")).unwrap();
    let stopping = async {
        let Some(Message::Revoke(revoke)) = outbox.recv().await.unwrap().message else { panic!() };
        // The agent said that it runs epoch 7, which is what has to be stopped.
        assert_eq!(revoke.epoch, 7);
        session.stopped("bbbbbbbbbbbb", Epoch(7));
        session.stopped("aaaaaaaaaaaa", Epoch(4));
        session.stopped("aaaaaaaaaaaa", Epoch(7));
    };
    let task_id = task_id();
    let (stopped, ()) = tokio::join!(session.stop(&task_id, Epoch(5), Duration::from_secs(60)), stopping);
    assert_eq!(stopped, Ok(()));
}

#[tokio::test]
async fn an_agent_that_does_not_stop_is_not_waited_for_for_ever() {
    let registry = Registry::default();
    let (session, _outbox) = registry.connect(key("eu-1"), hello("eu-1")).unwrap();
    let stopped = session.stop(&task_id(), Epoch(7), Duration::from_millis(10)).await;
    assert_eq!(stopped, Err(StopError::Unanswered));
}

#[tokio::test]
async fn an_agent_that_does_not_read_loses_its_session() {
    let registry = Registry::default();
    let (session, _outbox) = registry.connect(key("eu-1"), hello("eu-1")).unwrap();
    while session.revoke(&task_id(), Epoch(7)).is_ok() {}
    assert_eq!(session.ended().await, SessionEnd::Stalled);
}
