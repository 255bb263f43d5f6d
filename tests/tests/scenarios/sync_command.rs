//! `strait sync`: what scripts rely on, run as a script would.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use strait_tests::compare;
use strait_tests::database::Database;
use strait_tests::footprint::{self, Footprint};
use strait_tests::pair::Pair;
use strait_tests::processes::Signal;
use strait_tests::server::{Server, ServerOptions};
use strait_tests::sync::{Outcome, SyncCommand};
use strait_tests::version::PgVersion;
use strait_tests::wait::patience;
use tempfile::TempDir;

/// Two databases and a directory for the state.
struct Fixture {
    source: Database,
    destination: Database,
    directory: TempDir,
    before: Footprint,
}

impl Fixture {
    async fn new(stem: &str) -> Result<Self> {
        let pair = Pair::shared().await?;
        let source = Database::create(&pair.source, stem).await?;
        let destination = Database::create(&pair.destination, stem).await?;
        source
            .run("CREATE TABLE t (a int PRIMARY KEY, b text); CREATE TABLE keyless (a int, b text)")
            .await?;
        source.run("INSERT INTO t SELECT g, 'b' || g FROM generate_series(1, 1000) g; INSERT INTO keyless SELECT 1, 'x' FROM generate_series(1, 100)").await?;
        let before = Footprint::of(&source).await?;
        Ok(Self { source, destination, directory: tempfile::tempdir()?, before })
    }

    fn state(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self) -> SyncCommand {
        SyncCommand::new(&self.source.uri(), &self.destination.uri(), &self.state().join("state"))
    }

    fn task_file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.state().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    async fn release(&self, command: SyncCommand) -> Result<()> {
        let outcome = command.with("--release").run(patience()).await?;
        outcome.assert_code(0)?;
        self.assert_nothing_left().await
    }

    async fn assert_nothing_left(&self) -> Result<()> {
        self.before.assert_unchanged(&self.source).await?;
        footprint::assert_destination_clean(&self.destination).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_copies_says_its_states_and_leaves_nothing_behind() -> Result<()> {
    let fixture = Fixture::new("sync_once").await?;
    let outcome = fixture.command().with("--once").run(patience()).await?;
    outcome.assert_code(0)?;
    compare::assert_equal(&fixture.source, &fixture.destination).await?;
    let states = outcome.states();
    let mut rest = states.iter();
    for wanted in ["prechecking", "schema-sync", "full-sync", "incremental", "finished", "released"] {
        ensure!(rest.any(|state| state == wanted), "{wanted} is missing, or out of order, in {states:?}");
    }
    let prechecks = outcome.of_type("precheck");
    ensure!(!prechecks.is_empty() && prechecks.iter().all(|item| item["name"].is_string()), "{prechecks:?}");
    ensure!(!outcome.of_type("progress").is_empty() || !outcome.of_type("event").is_empty());
    ensure!(outcome.lines.iter().all(|line| line["type"].is_string()), "{:?}", outcome.lines);
    fixture.assert_nothing_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_pauses_the_same_command_resumes_and_release_removes() -> Result<()> {
    let fixture = Fixture::new("sync_resume").await?;
    for (round, signal) in [Signal::Terminate, Signal::Terminate, Signal::Kill].into_iter().enumerate() {
        let mut running = fixture.command().spawn()?;
        running.wait_for_state("incremental", patience()).await?;
        fixture.source.run(&format!("INSERT INTO t VALUES ({}, 'running')", 10_000 + round)).await?;
        fixture.source.run("INSERT INTO keyless VALUES (2, 'running')").await?;
        compare::eventually_equal(&fixture.source, &fixture.destination, patience()).await?;
        running.signal(signal).await?;
        let outcome = running.outcome(patience()).await?;
        if !matches!(signal, Signal::Kill) {
            outcome.assert_code(0)?;
            ensure!(outcome.states().last().is_some_and(|state| state == "paused"), "{:?}", outcome.states());
        }
        fixture
            .source
            .run("INSERT INTO keyless VALUES (3, 'away'); UPDATE t SET b = 'away' WHERE a % 10 = 0")
            .await?;
    }
    let mut running = fixture.command().spawn()?;
    running.wait_for_state("incremental", patience()).await?;
    compare::eventually_equal(&fixture.source, &fixture.destination, patience()).await?;
    running.signal(Signal::Terminate).await?;
    running.outcome(patience()).await?.assert_code(0)?;
    fixture.release(fixture.command()).await?;
    compare::assert_equal(&fixture.source, &fixture.destination).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_once_says_so_in_its_exit_code() -> Result<()> {
    let fixture = Fixture::new("sync_interrupted").await?;
    fixture
        .source
        .run("INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(2000, 400000) g")
        .await?;
    let mut running = fixture.command().with("--once").spawn()?;
    running.wait_for_state("full-sync", patience()).await?;
    running.signal(Signal::Terminate).await?;
    running.outcome(patience()).await?.assert_code(130)?;
    // The same command ends what was begun.
    fixture.command().with("--once").run(patience()).await?.assert_code(0)?;
    compare::assert_equal(&fixture.source, &fixture.destination).await?;
    fixture.assert_nothing_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_file_selects_and_a_changed_one_is_refused() -> Result<()> {
    let fixture = Fixture::new("sync_task").await?;
    let first = fixture.task_file("first.yaml", "objects:\n  include: [{table: public.t}]\n")?;
    let mut running = fixture.command().with("--task").with(&first).spawn()?;
    running.wait_for_state("incremental", patience()).await?;
    running.signal(Signal::Terminate).await?;
    running.outcome(patience()).await?.assert_code(0)?;
    ensure!(fixture.destination.text("SELECT to_regclass('keyless')").await?.is_empty());

    let changed = "objects:\n  include: [{schema: public}]\nthrottle: {incremental: {rows_per_second: 5}}\n";
    let second = fixture.task_file("second.yaml", changed)?;
    let outcome = fixture.command().with("--task").with(&second).run(patience()).await?;
    refused(
        &outcome,
        &["objects", "public.t", "throttle.incremental.rows_per_second is 0 there and 5 here"],
    )?;
    fixture.release(fixture.command().with("--task").with(&first)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_task_file_is_refused_and_the_field_named() -> Result<()> {
    let fixture = Fixture::new("sync_fields").await?;
    for (name, text, words) in [
        ("unknown", "objectz: {}\n", &["objectz"][..]),
        ("nested", "retry: {connexion: 10m}\n", &["connexion"]),
        ("range", "retry: {connection: 1m}\n", &["retry.connection", "10"]),
        ("unsupported", "objects:\n  include: [{table: public.t, merge: true}]\n", &["merge"]),
        ("both", "source: {agent: a, endpoint: e}\n", &["source"]),
        ("syntax", "objects: [\n", &["syntax.yaml"]),
    ] {
        let file = fixture.task_file(&format!("{name}.yaml"), text)?;
        let outcome = fixture.command().with("--task").with(&file).run(patience()).await?;
        refused(&outcome, words).with_context(|| name.to_owned())?;
    }
    fixture.assert_nothing_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_addresses_and_passwords_fail_with_their_cause() -> Result<()> {
    let fixture = Fixture::new("sync_refused").await?;
    let server = Server::start(ServerOptions::new(PgVersion::default_pair()?.0).scram("right")).await?;
    let secret = server.uri("postgres");
    let destination = fixture.destination.uri();
    let nowhere = fixture.source.server().uri("no_such_database");
    for (name, uri, words) in [
        ("password", secret.replace(":right@", ":wrong-secret@"), &["password"][..]),
        ("user", secret.replace("postgres://postgres:", "postgres://nobody_knows:"), &["nobody_knows"]),
        ("database", nowhere, &["no_such_database"]),
        ("host", "postgres://postgres@no-such-host.invalid/x".to_owned(), &["no-such-host.invalid"]),
        ("port", "postgres://postgres@127.0.0.1:1/x".to_owned(), &["127.0.0.1:1"]),
    ] {
        let command = SyncCommand::new(&uri, &destination, &fixture.state().join(name));
        let outcome = command.with("--once").run(patience()).await.with_context(|| name.to_owned())?;
        failed(&outcome, words).with_context(|| name.to_owned())?;
        ensure!(!outcome.everything().contains("wrong-secret"), "the password was printed");
    }
    let command = SyncCommand::new(
        &fixture.source.uri(),
        &secret.replace(":right@", ":x@"),
        &fixture.state().join("d"),
    );
    failed(&command.with("--once").run(patience()).await?, &["password"])?;
    fixture.assert_nothing_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_the_uri_and_is_never_printed() -> Result<()> {
    let fixture = Fixture::new("sync_password").await?;
    let server = Server::start(ServerOptions::new(PgVersion::default_pair()?.0).scram("very-secret")).await?;
    let source = Database::create(&server, "with_password").await?;
    source.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await?;
    let command = SyncCommand::new(&source.uri(), &fixture.destination.uri(), &fixture.state().join("state"));
    let outcome = command.with("--once").run(patience()).await?;
    outcome.assert_code(0)?;
    ensure!(!outcome.everything().contains("very-secret"), "the password was printed");
    compare::assert_equal(&source, &fixture.destination).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_table_is_refused_and_untouched() -> Result<()> {
    let fixture = Fixture::new("sync_existing").await?;
    fixture.destination.run("CREATE TABLE t (other int); INSERT INTO t VALUES (42)").await?;
    let outcome = fixture.command().with("--once").run(patience()).await?;
    failed(&outcome, &["public.t"])?;
    ensure!(outcome.states().contains(&"precheck-failed".to_owned()), "{:?}", outcome.states());
    ensure!(fixture.destination.text("SELECT * FROM t").await? == "42");
    fixture.before.assert_unchanged(&fixture.source).await?;
    // Mended, the same command goes on.
    fixture.destination.run("DROP TABLE t").await?;
    fixture.command().with("--once").run(patience()).await?.assert_code(0)?;
    fixture.assert_nothing_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_is_usage() -> Result<()> {
    let fixture = Fixture::new("sync_usage").await?;
    for arguments in [&["--once", "--release"][..], &["--no-such-flag"], &["--output", "xml"]] {
        let command = arguments.iter().fold(fixture.command(), |command, argument| command.with(*argument));
        command.run(Duration::from_secs(20)).await?.assert_code(2)?;
    }
    SyncCommand::new("not a uri", &fixture.destination.uri(), fixture.state())
        .run(patience())
        .await?
        .assert_code(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_what_never_was_is_no_error() -> Result<()> {
    let fixture = Fixture::new("sync_release").await?;
    fixture.release(fixture.command()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_directory_is_no_loss() -> Result<()> {
    let fixture = Fixture::new("sync_lost_state").await?;
    for round in 0..2 {
        let mut running = fixture.command().spawn()?;
        running.wait_for_state("incremental", patience()).await?;
        fixture.source.run(&format!("INSERT INTO t VALUES (-1 - {round}, 'since')")).await?;
        compare::eventually_equal(&fixture.source, &fixture.destination, patience()).await?;
        running.signal(Signal::Terminate).await?;
        running.outcome(patience()).await?.assert_code(0)?;
        std::fs::remove_dir_all(fixture.state().join("state"))?;
    }
    fixture.release(fixture.command()).await
}

/// Ended with 1, and said each of the words.
fn failed(outcome: &Outcome, words: &[&str]) -> Result<()> {
    outcome.assert_code(1)?;
    says(outcome, words)
}

/// Ended with anything but success, and said each of the words.
fn refused(outcome: &Outcome, words: &[&str]) -> Result<()> {
    ensure!(matches!(outcome.code, Some(1 | 2)), "exit code {:?}: {}", outcome.code, outcome.everything());
    says(outcome, words)
}

fn says(outcome: &Outcome, words: &[&str]) -> Result<()> {
    let said = outcome.everything();
    for word in words {
        ensure!(said.contains(word), "it does not say {word:?}:\n{said}");
    }
    Ok(())
}
