//! Who may speak to whom: roles, tokens, certificates that change, and strangers at the door.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use strait_cli::certs::Validity;
use strait_proto::v1::control_service_client::ControlServiceClient;
use strait_proto::v1::data_service_client::DataServiceClient;
use strait_proto::v1::task_service_client::TaskServiceClient;
use strait_proto::v1::token_service_client::TokenServiceClient;
use strait_proto::v1::{
    AgentMessage, AgentRole, CreateTokenRequest, Hello, ListTasksRequest, OpenTaskRequest,
    RevokeTokenRequest, TaskSession, TaskState, agent_message,
};
use strait_runtime::security::{Expected, Role, Security};
use strait_runtime::serve::Dial;
use strait_tests::processes::{Part, strait};
use strait_tests::scenario::Scenario;
use strait_tests::wait::{eventually, patience};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A connection to a part, as somebody.
async fn dial(
    port: u16,
    security: &Security,
    expected: Expected,
) -> Result<Channel, tonic::transport::Error> {
    let address = format!("{}://127.0.0.1:{port}", security.scheme());
    let dial = Dial::new(&address, security, expected).unwrap_or_else(|error| panic!("{error}"));
    dial.connect().await
}

async fn list_tasks(channel: Channel, token: Option<&str>) -> Result<usize, Status> {
    let mut request = Request::new(ListTasksRequest::default());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().map_err(|_| Status::internal("no header"))?;
        request.metadata_mut().insert("authorization", value);
    }
    Ok(TaskServiceClient::new(channel).list_tasks(request).await?.into_inner().tasks.len())
}

async fn open_session(channel: Channel, agent: &str, role: AgentRole) -> Result<(), Status> {
    let hello = Hello {
        agent: agent.to_owned(),
        role: role.into(),
        data_address: "https://127.0.0.1:1".to_owned(),
        ..Hello::default()
    };
    let hello = AgentMessage { message: Some(agent_message::Message::Hello(hello)) };
    let mut client = ControlServiceClient::new(channel);
    client.session(tokio_stream::once(hello)).await?.into_inner().message().await?;
    Ok(())
}

async fn open_task(channel: Channel, session: TaskSession) -> Result<(), Status> {
    let request = OpenTaskRequest { session: Some(session), ..OpenTaskRequest::default() };
    DataServiceClient::new(channel).open_task(request).await.map(drop)
}

fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Result<Code> {
    Ok(result.err().context("it was let in")?.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_lives_over_tls_and_nobody_else_gets_in() -> Result<()> {
    let mut scenario = Scenario::new("security_roles").await?;
    let certificates = scenario.encrypt()?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.source.run("INSERT INTO t SELECT n, n::text FROM generate_series(1, 1000) n").await?;
    scenario.start_processes().await?;
    scenario.assert_equal().await?;

    let (coordinator_port, sink_port) = (scenario.layout().coordinator_port, scenario.layout().sink_port);
    let coordinator = Expected::coordinator;
    certificates.issue(Role::SourceAgent, "other", Validity::days(1))?;
    certificates.issue(Role::Operator, "late", Validity::past())?;
    let operator = certificates.security(Role::Operator)?;
    let source = certificates.security(Role::SourceAgent)?;
    let sink = certificates.security(Role::SinkAgent)?;
    let other = certificates.security_of(Role::SourceAgent, "other")?;
    let late = certificates.security_of(Role::Operator, "late")?;

    // Each role gets what is its own, and nothing else.
    ensure!(list_tasks(dial(coordinator_port, &operator, coordinator()).await?, None).await? == 1);
    for wrong in [&source, &sink] {
        let refused = list_tasks(dial(coordinator_port, wrong, coordinator()).await?, None).await;
        ensure!(code(refused)? == Code::PermissionDenied);
    }
    let refused =
        open_session(dial(coordinator_port, &operator, coordinator()).await?, "main", AgentRole::Source)
            .await;
    ensure!(code(refused)? == Code::PermissionDenied);
    // An agent is who its certificate says.
    for (security, name, role) in
        [(&other, "source", AgentRole::Source), (&source, "source", AgentRole::Sink)]
    {
        let refused = open_session(dial(coordinator_port, security, coordinator()).await?, name, role).await;
        ensure!(code(refused)? == Code::PermissionDenied);
    }
    // A sink takes data from the agent that the coordinator assigned, for the task, under its epoch and with its token.
    let task_id = scenario.task_id().to_owned();
    let session = TaskSession { task_id, epoch: 1, token: "guess".to_owned(), joining: false };
    let to_sink = async |security: &Security| dial(sink_port, security, Expected::sink_agent("sink")).await;
    for wrong in [&operator, &sink] {
        ensure!(code(open_task(to_sink(wrong).await?, session.clone()).await)? == Code::PermissionDenied);
    }
    ensure!(code(open_task(to_sink(&source).await?, session.clone()).await)? == Code::Unauthenticated);
    let old = TaskSession { epoch: 0, ..session.clone() };
    ensure!(code(open_task(to_sink(&source).await?, old).await)? == Code::FailedPrecondition);
    // Without a certificate, with one that is over, or one of another authority nobody speaks to the sink.
    let strangers = strait_tests::certificates::Certificates::new()?.security(Role::SourceAgent)?;
    for wrong in [&certificates.anonymous()?, &late, &strangers] {
        let refused = match to_sink(wrong).await {
            Err(_) => Code::Unavailable,
            Ok(channel) => code(open_task(channel, session.clone()).await)?,
        };
        ensure!(matches!(refused, Code::Unavailable | Code::Unknown | Code::Cancelled), "{refused:?}");
    }
    // Whoever dials knows whom, too.
    ensure!(dial(sink_port, &operator, coordinator()).await.is_err());
    ensure!(dial(sink_port, &source, Expected::sink_agent("another")).await.is_err());

    let log = scenario.processes()?.log(Part::SinkAgent);
    ensure!(log.contains("refused"), "nothing was told:\n{log}");
    scenario.processes()?.assert_running()?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_in_place_of_a_certificate_until_it_is_revoked() -> Result<()> {
    let mut scenario = Scenario::new("security_tokens").await?;
    let certificates = scenario.encrypt()?;
    let spec = scenario.spec();
    scenario.create_with_processes(spec).await?;
    let port = scenario.layout().coordinator_port;
    let anonymous = certificates.anonymous()?;
    let as_nobody = async || dial(port, &anonymous, Expected::coordinator()).await;
    let operator = dial(port, &certificates.security(Role::Operator)?, Expected::coordinator()).await?;
    let mut tokens = TokenServiceClient::new(operator);
    let token = tokens.create_token(CreateTokenRequest { name: "ci".to_owned() }).await?.into_inner().token;

    ensure!(list_tasks(as_nobody().await?, Some(&token)).await? == 1);
    ensure!(code(list_tasks(as_nobody().await?, None).await)? == Code::Unauthenticated);
    ensure!(code(list_tasks(as_nobody().await?, Some("strait_00")).await)? == Code::Unauthenticated);
    // It is an operator's, not an agent's.
    let refused = open_session(as_nobody().await?, "source", AgentRole::Source).await;
    ensure!(code(refused)? == Code::Unauthenticated);

    // The command takes it from a file.
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{token}\n"))?;
    let uri = scenario.layout().coordinator_uri();
    let (authority, file) = (certificates.authority().display().to_string(), file.display().to_string());
    let list =
        ["task", "list", "--coordinator", &uri, "--tls-ca", &authority, "--token-file", &file, "-o", "json"];
    let listed = strait(&list).await?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));

    tokens.revoke_token(RevokeTokenRequest { name: "ci".to_owned() }).await?;
    ensure!(code(list_tasks(as_nobody().await?, Some(&token)).await)? == Code::Unauthenticated);
    ensure!(!strait(&list).await?.status.success());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_change_count_without_a_restart() -> Result<()> {
    let mut scenario = Scenario::new("security_reload").await?;
    let certificates = scenario.encrypt()?;
    scenario.start_processes().await?;
    // Nobody who connects anew is known any more.
    for role in [Role::SourceAgent, Role::SinkAgent] {
        let name = if role == Role::SourceAgent { "source" } else { "sink" };
        certificates.issue(role, name, Validity::past())?;
    }
    let port = scenario.layout().sink_port;
    let source = certificates.security(Role::SourceAgent)?;
    eventually("the sink-agent shows its new certificate, which is over", patience(), async || {
        Ok(dial(port, &source, Expected::sink_agent("sink")).await.is_err().then_some(()))
    })
    .await?;
    for role in [Role::SourceAgent, Role::SinkAgent] {
        let name = if role == Role::SourceAgent { "source" } else { "sink" };
        certificates.issue(role, name, Validity::days(1))?;
    }
    // Everybody has to connect anew.
    scenario.processes()?.crash(Part::Coordinator).await?;
    scenario.tasks.agents_connected().await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_door_neither_stop_a_task_nor_fill_the_memory() -> Result<()> {
    const FLOOD: usize = 600;
    let mut scenario = Scenario::new("security_flood").await?;
    scenario.encrypt()?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY)").await?;
    scenario.start_processes().await?;
    let (coordinator_port, sink_port) = (scenario.layout().coordinator_port, scenario.layout().sink_port);
    let before = scenario.processes()?.memory_peak(Part::SinkAgent)?;

    // Some say nothing, some say nonsense, some say a part of what a handshake begins with.
    let mut held = Vec::new();
    for n in 0..FLOOD {
        for port in [coordinator_port, sink_port] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let said: &[u8] = match n % 4 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\n\r\n",
                2 => &[0x16, 0x03, 0x01, 0x3F, 0xFF, 0x01],
                _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            };
            // Those beyond the bound are closed at once.
            let _ = stream.write_all(said).await;
            held.push(stream);
        }
        if n % 100 == 0 {
            scenario.source.run(&format!("INSERT INTO t VALUES ({n})")).await?;
        }
    }
    scenario.assert_equal().await?;
    // All of them are cut in the end, whether or not they have said anything.
    for stream in &mut held {
        let mut rest = Vec::new();
        tokio::time::timeout(patience(), stream.read_to_end(&mut rest))
            .await
            .context("a stranger may stay")?
            .ok();
    }
    let after = scenario.processes()?.memory_peak(Part::SinkAgent)?;
    ensure!(after < before + (64 << 20), "{FLOOD} strangers cost {} bytes", after - before);
    let told = scenario.processes()?.log(Part::SinkAgent).matches("refused").count();
    ensure!((1..20).contains(&told), "the refusals were told {told} times");
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_has_to_be_asked_for() -> Result<()> {
    let program = |name: &str| strait_tests::processes::program_path(name);
    for (name, arguments) in [
        ("strait-coordinator", vec!["--store", "/nowhere/store"]),
        ("strait-sink-agent", vec!["--agent", "a"]),
        ("strait-source-agent", vec!["--agent", "a"]),
    ] {
        let mut command = tokio::process::Command::new(program(name)?);
        let output = tokio::time::timeout(
            Duration::from_secs(30),
            command.args(&arguments).env_remove("STRAIT_PLAIN_TEXT").output(),
        )
        .await??;
        ensure!(output.status.code() == Some(2), "{name} ended with {}", output.status);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("tls-certificate") && said.contains("plain-text"), "{said}");
    }
    Ok(())
}
