//! The session against a coordinator of the test's own, over gRPC on the loopback interface. Every step waits
//! for its effect.

mod scene;

use strait_proto::v1::coordinator_message::Message as FromCoordinator;
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{Command, Failure, Finished, PhaseReached, TaskNotice, TaskState, command_result};
use tokio::sync::mpsc;

use super::*;
use scene::{Ending, Scene, Script, within};

fn phase(phase: TaskState) -> Kind {
    Kind::Phase(PhaseReached { phase: phase.into() })
}

fn notice(text: &str) -> Kind {
    Kind::Notice(TaskNotice { text: text.into() })
}

#[tokio::test]
async fn an_assignment_runs_and_reports() {
    let (_scene, mut session, run) = Scene::running(1).await;
    assert_eq!((session.hello.agent.as_str(), session.running()), ("eu-1", vec![]));
    run.reports.send(phase(TaskState::FullSync)).await;
    run.reports.send(notice("on the way")).await;
    assert_eq!(session.report().await, (1, phase(TaskState::FullSync)));
    assert_eq!(session.report().await, (1, notice("on the way")));
}

#[tokio::test]
async fn a_higher_epoch_replaces_the_run_after_it_ended() {
    let (mut scene, mut session, old) = Scene::running(1).await;
    session.assign(1).await;
    session.assign(2).await;
    old.stopped().await;
    assert!(scene.runs.try_recv().is_err(), "the new run waits");
    old.reports.send(notice("too late")).await;
    old.end();
    let new = scene.run().await;
    assert_eq!(new.epoch, 2);
    new.reports.send(phase(TaskState::Incremental)).await;
    assert_eq!(session.report().await, (2, phase(TaskState::Incremental)));
}

#[tokio::test]
async fn a_revoke_is_answered_once_the_run_ended() {
    let (_scene, mut session, run) = Scene::running(3).await;
    session.revoke(3).await;
    run.stopped().await;
    run.reports.send(notice("stopping")).await;
    assert_eq!(session.report().await, (3, notice("stopping")));
    run.end();
    assert!(matches!(session.report().await, (3, Kind::Stopped(_))));
    session.revoke(4).await;
    assert!(matches!(session.report().await, (4, Kind::Stopped(_))), "also when nothing runs");
}

#[tokio::test]
async fn a_reconnect_finds_the_run_undisturbed_and_hears_its_state_again() {
    let (mut scene, mut session, run) = Scene::running(1).await;
    run.reports.send(phase(TaskState::FullSync)).await;
    run.reports.send(phase(TaskState::Incremental)).await;
    session.report().await;
    session.report().await;
    drop(session);

    let mut session = scene.session().await;
    assert_eq!(session.running(), [1]);
    assert_eq!(session.report().await, (1, phase(TaskState::Incremental)));
    assert!(!run.stop.is_cancelled());
    run.reports.send(notice("still here")).await;
    assert_eq!(session.report().await, (1, notice("still here")));
}

#[tokio::test]
async fn runs_go_on_while_the_coordinator_is_away() {
    let (mut scene, session, run) = Scene::running(1).await;
    drop(session);
    scene.stop_coordinator().await;
    run.reports.send(phase(TaskState::Incremental)).await;
    run.reports.send(notice("alone")).await;
    run.reports.send(Kind::Failed(Failure { cause: "why".into(), ..Failure::default() })).await;
    run.end();

    scene.restart_coordinator().await;
    let mut session = scene.session().await;
    assert_eq!(session.running(), [1], "a run that ended by itself is still listed");
    assert!(matches!(session.report().await, (1, Kind::Failed(Failure { cause, .. })) if cause == "why"));
    assert_eq!(session.report().await, (1, notice("alone")));
    session.assign(1).await;
    session.revoke(1).await;
    assert!(matches!(session.report().await, (1, Kind::Stopped(_))));
    assert!(scene.runs.try_recv().is_err(), "an ended epoch does not start again");
}

#[tokio::test]
async fn a_coordinator_that_does_not_welcome_is_dialled_again() {
    let mut scene = Scene::start().await;
    let rude = within("a session", scene.sessions.recv()).await.unwrap();
    rude.assign(1).await;
    let session = scene.session().await;
    session.assign(2).await;
    assert_eq!(scene.run().await.epoch, 2);
}

#[tokio::test]
async fn a_run_that_panics_is_a_failure_of_its_task() {
    let (_scene, mut session, run) = Scene::running(1).await;
    run.end.send(Ending::Panic).unwrap_or_else(|_| panic!("the run is gone"));
    let (1, Kind::Failed(failure)) = session.report().await else { panic!("no failure") };
    assert!(failure.definite && failure.cause.contains("a defect"), "{failure:?}");
}

#[tokio::test]
async fn a_run_that_finished_says_nothing_more() {
    let (_scene, mut session, run) = Scene::running(1).await;
    run.reports.send(Kind::Finished(Finished {})).await;
    run.end();
    assert_eq!(session.report().await, (1, Kind::Finished(Finished {})));
    session.revoke(1).await;
    assert!(matches!(session.report().await, (1, Kind::Stopped(_))));
}

#[tokio::test]
async fn commands_are_answered_side_by_side_while_runs_go_on() {
    let (mut scene, mut session, run) = Scene::running(1).await;
    session.release("first").await;
    let first = within("a command", scene.commands.recv()).await.unwrap();
    session.release("second").await;
    within("a command", scene.commands.recv()).await.unwrap().send("removed".into()).unwrap();
    assert_eq!(session.result().await.request_id, "second");
    run.reports.send(notice("meanwhile")).await;
    assert_eq!(session.report().await, (1, notice("meanwhile")));
    first.send("removed".into()).unwrap();
    assert_eq!(session.result().await.request_id, "first");
}

#[tokio::test]
async fn no_more_than_sixteen_commands_are_carried_out_at_once() {
    let mut scene = Scene::start().await;
    let mut session = scene.session().await;
    for n in 0..17 {
        session.release(&n.to_string()).await;
    }
    let mut first: Vec<_> = Vec::new();
    for _ in 0..16 {
        first.push(within("a command", scene.commands.recv()).await.unwrap());
    }
    assert!(scene.commands.try_recv().is_err());
    first.remove(0).send("removed".into()).unwrap();
    session.result().await;
    within("the last command", scene.commands.recv()).await.unwrap();
}

#[tokio::test]
async fn a_command_asked_again_in_the_next_session_is_answered_there_once() {
    let mut scene = Scene::start().await;
    let session = scene.session().await;
    session.release("r").await;
    let command = within("a command", scene.commands.recv()).await.unwrap();
    drop(session);
    let mut session = scene.session().await;
    session.release("r").await;
    session.revoke(1).await;
    // The answer to the revoke shows that the command before it was taken in.
    assert!(matches!(session.report().await, (1, Kind::Stopped(_))));
    command.send("removed".into()).unwrap();
    let result = session.result().await;
    assert_eq!(result.request_id, "r");
    assert!(scene.commands.try_recv().is_err(), "it was not begun a second time");
}

#[tokio::test]
async fn a_command_that_is_not_known_is_refused() {
    let mut scene = Scene::start().await;
    let mut session = scene.session().await;
    session.send(FromCoordinator::Command(Command { request_id: "r".into(), command: None })).await;
    assert!(matches!(session.result().await.result, Some(command_result::Result::Failure(_))));
}

#[tokio::test]
async fn a_shutdown_stops_runs_and_lets_their_last_reports_leave() {
    let (scene, mut session, run) = Scene::running(1).await;
    scene.shutdown.trigger();
    run.stopped().await;
    session.assign(2).await;
    run.reports.send(notice("last words")).await;
    // The second assignment is not taken on, so the first epoch still reports.
    assert_eq!(session.report().await, (1, notice("last words")));
    run.end();
    within("the agent's end", scene.agent).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_without_a_coordinator_ends_too() {
    let (mut scene, session, run) = Scene::running(1).await;
    drop(session);
    scene.stop_coordinator().await;
    scene.shutdown.trigger();
    run.stopped().await;
    run.end();
    within("the agent's end", scene.agent).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_run_that_does_not_stop_is_aborted_at_the_deadline() {
    let scene = Scene::with_stop_deadline(Duration::from_millis(20)).await;
    let (scene, _session, run) = scene.with_run(1).await;
    scene.shutdown.trigger();
    run.stopped().await;
    within("the agent's end", scene.agent).await.unwrap().unwrap();
    assert!(run.end.is_closed(), "the run's future is gone");
}

#[tokio::test]
async fn an_address_that_cannot_be_dialled_is_an_error() {
    let (runs, _) = mpsc::channel(1);
    let (commands, _) = mpsc::channel(1);
    let worker = Arc::new(Script { runs, commands });
    for address in ["", "localhost", "https://localhost:1", "postgres://h"] {
        let result = run_agent(address, &Security::PlainText, Arc::clone(&worker), Shutdown::new()).await;
        assert!(matches!(result, Err(AgentError::Coordinator(_))), "{address}");
    }
}
