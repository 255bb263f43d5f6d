//! What the parts tell of themselves: traces across processes, metrics, and never a secret.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use strait_proto::v1::TaskState;
use strait_tests::collector::Collector;
use strait_tests::processes::{Part, strait};
use strait_tests::scenario::Scenario;
use strait_tests::server::free_port;
use strait_tests::wait::{eventually, patience};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The way of a piece of the change stream, and who tells of it.
const BATCH: [(&str, &str); 8] = [
    ("strait-source-agent", "strait.frame"),
    ("strait-source-agent", "strait.send"),
    ("strait-sink-agent", "strait.receive"),
    ("strait-sink-agent", "strait.plan"),
    ("strait-sink-agent", "strait.apply"),
    ("strait-sink-agent", "strait.execute"),
    ("strait-sink-agent", "strait.commit"),
    ("strait-source-agent", "strait.ack"),
];

const METRICS: [&str; 24] = [
    "rpc.server.call.duration",
    "strait.apply.batch.rows",
    "strait.apply.conflicts",
    "strait.apply.duration",
    "strait.apply.fallbacks",
    "strait.apply.received",
    "strait.apply.rows",
    "strait.apply.transactions",
    "strait.control.sessions",
    "strait.copy.bytes",
    "strait.copy.expected",
    "strait.copy.rows",
    "strait.copy.tables",
    "strait.run.interruptions",
    "strait.slot.retained",
    "strait.stream.frame.size",
    "strait.stream.heartbeat.age",
    "strait.stream.hop.duration",
    "strait.stream.hop.pending",
    "strait.stream.in_flight",
    "strait.stream.latency",
    "strait.stream.rows",
    "strait.stream.sent",
    "strait.stream.throttled",
];

async fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_trace_across_processes_and_every_metric_arrives() -> Result<()> {
    let collector = Collector::start().await?;
    let mut scenario = Scenario::new("telemetry").await?;
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.source.run("INSERT INTO t SELECT n, n::text FROM generate_series(1, 1000) n").await?;
    let (source_port, sink_port) = (free_port()?, free_port()?);
    scenario.layout().otlp = Some(collector.uri());
    scenario.layout().metrics = vec![(Part::SourceAgent, source_port), (Part::SinkAgent, sink_port)];
    scenario.start_processes().await?;

    let wanted: BTreeSet<(&str, &str)> = BATCH.into();
    let mut n = 1000;
    eventually("a trace of a batch is whole", patience(), async || {
        n += 1;
        scenario.source.run(&format!("INSERT INTO t VALUES ({n})")).await?;
        let whole = collector.traces().iter().any(|spans| {
            let spans: BTreeSet<_> = spans.iter().map(|span| (&*span.service, &*span.name)).collect();
            wanted.is_subset(&spans)
        });
        Ok(whole.then_some(()))
    })
    .await
    .with_context(|| format!("{:?}", collector.traces()))?;
    let phases = collector.traces();
    let arrived = |name: &str| phases.iter().flatten().any(|span| span.name == name);
    for name in ["strait.phase", "/strait.v1.TaskService/StartTask", "/strait.v1.DataService/CopyChunk"] {
        ensure!(arrived(name), "no span {name}: {phases:?}");
    }
    // Whoever builds a dashboard finds them in the README.
    let readme = include_str!("../../../README.md");
    for name in METRICS.iter().chain(BATCH.iter().map(|(_, name)| name)) {
        ensure!(readme.contains(&format!("`{name}`")), "the README does not list {name}");
    }
    eventually("every metric has arrived", patience(), async || {
        let arrived = collector.metrics();
        Ok(METRICS.iter().all(|name| arrived.contains(*name)).then_some(()))
    })
    .await
    .with_context(|| format!("{:?}", collector.metrics()))?;

    // The same at /metrics, by the names that Prometheus has for them.
    let (source, sink) = (get(source_port, "/metrics").await?, get(sink_port, "/metrics").await?);
    for name in
        ["strait_slot_retained_bytes", "strait_stream_latency_seconds_bucket", "strait_stream_rows_total"]
    {
        ensure!(source.contains(name), "{name} is missing:\n{source}");
    }
    for name in [
        "strait_apply_rows_total",
        "strait_apply_duration_seconds_bucket",
        "rpc_server_call_duration_seconds",
    ] {
        ensure!(sink.contains(name), "{name} is missing:\n{sink}");
    }
    ensure!(get(sink_port, "/healthz").await?.starts_with("HTTP/1.1 200"));
    scenario.assert_equal().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_value_of_a_row_leaves_its_zone_but_as_a_row() -> Result<()> {
    const PASSWORD: &str = "planted-password-7d1c";
    const VALUE: &str = "planted-value-93ab";
    let collector = Collector::start().await?;
    let mut scenario = Scenario::new("telemetry_secrets").await?;
    scenario.layout().otlp = Some(collector.uri());
    scenario.layout().password = Some(PASSWORD.to_owned());
    scenario.source.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await?;
    scenario.source.run(&format!("INSERT INTO t VALUES (1, '{VALUE}')")).await?;
    scenario.start_processes().await?;
    // A row that the destination refuses, whose message from the server quotes it; a conflict; a table that changes.
    scenario.source.run(&format!("INSERT INTO t VALUES (2, '{VALUE}-2')")).await?;
    scenario.settle().await?;
    scenario.destination.run("DELETE FROM t WHERE a = 2").await?;
    scenario.source.run(&format!("UPDATE t SET b = '{VALUE}-3' WHERE a = 2")).await?;
    scenario.settle().await?;
    scenario.destination.run("ALTER TABLE t ADD CHECK (a <> 4)").await?;
    scenario.source.run(&format!("INSERT INTO t VALUES (4, '{VALUE}-4')")).await?;
    scenario.wait_for(TaskState::Failed).await?;

    let coordinator = scenario.layout().coordinator_uri();
    let task = scenario.task_id().to_owned();
    let mut told = vec![("collector", collector.text())];
    for arguments in [["task", "show"], ["task", "events"]] {
        let [kind, action] = arguments;
        let output = strait(&[kind, action, &task, "--coordinator", &coordinator, "-o", "json"]).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        told.push(("API", String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    for part in Part::ALL {
        told.push(("log", scenario.processes()?.log(part)));
    }
    told.push(("store", scenario.processes()?.store()?));
    for (place, text) in &told {
        ensure!(!text.is_empty(), "{place} has nothing to look at");
        for secret in [PASSWORD, VALUE] {
            ensure!(!text.contains(secret), "{secret} stands in the {place}:\n{text}");
        }
    }
    scenario.destination.run("ALTER TABLE t DROP CONSTRAINT t_a_check").await?;
    scenario.tasks.resume(&task).await?;
    scenario.wait_for(TaskState::Incremental).await?;
    scenario.finish().await
}
