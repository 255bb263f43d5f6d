use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ring::hmac;
use serde_json::Value;
use strait_proto::v1::report::Report as Kind;
use strait_proto::v1::{AlertPolicy, Failure, ListAlertsRequest, TestAlertsRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;

/// Takes notices, once it has refused some.
struct Receiver {
    url: String,
    notices: mpsc::UnboundedReceiver<Value>,
    refuses: Arc<AtomicUsize>,
    seen: HashSet<u64>,
}

impl Receiver {
    async fn start(refuses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (taken, notices) = mpsc::unbounded_channel();
        let refuses = Arc::new(AtomicUsize::new(refuses));
        let left = refuses.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                receive(stream, &taken, &left).await;
            }
        });
        Self { url, notices, refuses, seen: HashSet::new() }
    }

    /// The next notice that did not come before: its kind and what became of it. One whose delivery could not be stored any
    /// more comes again under its id.
    async fn next(&mut self) -> (String, String) {
        loop {
            let notice = within(self.notices.recv()).await.unwrap();
            let text = |name: &str| notice[name].as_str().unwrap().to_owned();
            let id = notice["id"].as_u64().unwrap();
            if id == 0 || self.seen.insert(id) {
                return (text("kind"), text("status"));
            }
        }
    }
}

/// Checks the signature as the README says.
async fn receive(mut stream: TcpStream, taken: &mpsc::UnboundedSender<Value>, refuses: &AtomicUsize) {
    let mut request = Vec::new();
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").parse().unwrap();
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        }
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "{text}");
    };
    let signature = header(&head, "strait-signature");
    let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"for tests");
    let tag: Vec<u8> =
        (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    hmac::verify(&key, format!("{time}.{body}").as_bytes(), &tag).unwrap();

    let is_refused =
        refuses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let status = if is_refused { "503 Service Unavailable" } else { "204 No Content" };
    stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    if !is_refused {
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["version"], 1);
        for notice in body["notices"].as_array().unwrap() {
            taken.send(notice.clone()).unwrap();
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).unwrap().1
}

fn telling(url: &str) -> CreateTaskRequest {
    let alerts = AlertPolicy { webhook: url.to_owned(), ..AlertPolicy::default() };
    let spec = TaskSpec { alerts: Some(alerts), name: "orders".into(), ..spec() };
    CreateTaskRequest { spec: Some(spec), ..CreateTaskRequest::default() }
}

impl Coordinator {
    /// Kinds and causes of the alerts, once there are so many.
    async fn alerts_are(&self, count: usize) -> Vec<(String, String)> {
        let listed = async {
            loop {
                let request = ListAlertsRequest { task: "orders".into() };
                let alerts = self.tasks.clone().list_alerts(request).await.unwrap().into_inner().alerts;
                if alerts.len() == count {
                    return alerts.into_iter().map(|alert| (alert.kind, alert.cause)).collect();
                }
            }
        };
        within(listed).await
    }
}

#[tokio::test]
async fn a_failure_is_told_once_and_so_is_its_end_whatever_restarts() {
    let mut receiver = Receiver::start(1).await;
    let patient = Timings { agent_gone: DEADLINE, ..timings() };
    let coordinator = Coordinator::start_with(patient).await;
    let (task_id, mut source, _sink) = coordinator.running(telling(&receiver.url)).await;
    let failure = Failure { definite: true, cause: "the disk is full".into(), ..Failure::default() };
    source.report(&task_id, 1, Kind::Failed(failure)).await;
    coordinator.until_state(&task_id, TaskState::Failed).await;
    let refused = async {
        while receiver.refuses.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(refused).await;
    let line = "alert: failure: the disk is full".to_owned();
    let told = async { while !coordinator.events(&task_id).await.contains(&line) {} };
    within(told).await;

    // What was not taken is told after a restart, and what was taken is not told again.
    let coordinator = coordinator.restart().await;
    let (_source, _sink) = (coordinator.source().await, coordinator.sink().await);
    assert_eq!(receiver.next().await, ("failure".into(), "firing".into()));
    let coordinator = coordinator.restart().await;
    let (_source, _sink) = (coordinator.source().await, coordinator.sink().await);
    assert_eq!(coordinator.alerts_are(1).await, [("failure".to_owned(), "the disk is full".to_owned())]);
    assert_eq!(coordinator.task(&task_id).await.alerts.len(), 1);
    assert_eq!(coordinator.events(&task_id).await.iter().filter(|event| **event == line).count(), 1);

    coordinator.resume(&task_id).await.unwrap();
    assert_eq!(receiver.next().await, ("failure".into(), "resolved".into()));
    assert_eq!(coordinator.alerts_are(0).await, []);
    assert!(receiver.notices.try_recv().is_err(), "nothing else is told");
}

#[tokio::test]
async fn an_agent_that_is_gone_is_told_of() {
    let mut receiver = Receiver::start(0).await;
    let coordinator = Coordinator::start().await;
    let (task_id, source, _sink) = coordinator.running(telling(&receiver.url)).await;
    drop(source);
    assert_eq!(receiver.next().await, ("agent".into(), "firing".into()));
    assert_eq!(coordinator.alerts_are(1).await[0].1, "out of contact: source-agent eu-1");
    let _source = Agent::connect(&coordinator.address, Side::Source, "eu-1", Some((&task_id, 1))).await;
    assert_eq!(receiver.next().await, ("agent".into(), "resolved".into()));
}

#[tokio::test]
async fn a_test_says_what_became_of_it() {
    let mut receiver = Receiver::start(1).await;
    let coordinator = Coordinator::start().await;
    coordinator.create(telling(&receiver.url)).await.unwrap();
    let test = async || {
        let request = TestAlertsRequest { task: "orders".into() };
        let tested = within(coordinator.tasks.clone().test_alerts(request)).await.unwrap().into_inner();
        tested.webhooks.into_iter().map(|it| it.error).collect::<Vec<_>>()
    };
    assert_eq!(test().await, ["answered 503 Service Unavailable"]);
    assert_eq!(test().await, [""]);
    assert_eq!(receiver.next().await, ("test".into(), "firing".into()));
    let status = coordinator.create(telling("ftp://a/")).await.unwrap_err();
    assert!(status.message().starts_with("alerts.webhook: is no URL to post to"), "{}", status.message());
}
