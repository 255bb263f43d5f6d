//! Gets stored notices to their webhooks: a worker for each webhook that something waits for, until nothing does.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use strait_proto::v1::{Alert, AlertSeverity};
use strait_runtime::Backoff;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::webhook::{self, WebhookUrl};
use super::{AlertConfig, chain};
use crate::clock::{micros, now_us};
use crate::store::{Notice, Store};

/// How many notices go into one body at most.
const BATCH_MAX: u32 = 100;
/// The pauses between attempts: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A notice that could not be delivered for so long is given up.
const GIVEN_UP: Duration = Duration::from_secs(24 * 3600);
/// The name of the coordinator's own webhook in the store, whatever its URL is.
const OWN: &str = "";

/// What is on its way.
#[derive(Clone)]
pub(super) struct Deliveries {
    store: Store,
    config: AlertConfig,
    stop: CancellationToken,
    /// The webhooks that have a worker.
    working: Arc<Mutex<HashSet<String>>>,
}

impl Deliveries {
    pub(super) fn new(store: Store, config: AlertConfig, stop: CancellationToken) -> Self {
        Self { store, config, stop, working: Arc::default() }
    }

    /// Where a notice of a task goes: the coordinator's webhook and the task's.
    pub(super) fn targets(&self, own: &str) -> Vec<String> {
        let of_all = self.config.webhook.as_ref().map(|_| OWN.to_owned());
        of_all.into_iter().chain((!own.is_empty()).then(|| own.to_owned())).collect()
    }

    /// Sees to it that each webhook that something waits for has a worker.
    pub(super) async fn resume(&self) {
        let targets = match self.store.notice_targets().await {
            Ok(targets) => targets,
            Err(error) => return tracing::error!(error = chain(&error), "could not look for notices"),
        };
        for target in targets {
            let is_new = self.working.lock().unwrap_or_else(PoisonError::into_inner).insert(target.clone());
            if is_new {
                let this = self.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = this.work(&target) => {}
                        () = this.stop.cancelled() => {}
                    }
                });
            }
        }
    }

    /// Delivers all that waits for a webhook.
    async fn work(&self, target: &str) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let notices = match self.store.notices(target, BATCH_MAX).await {
                Ok(notices) => notices,
                Err(error) => {
                    tracing::error!(error = chain(&error), "could not read notices");
                    sleep(backoff.next()).await;
                    continue;
                }
            };
            if notices.is_empty() {
                // Whoever adds one from here on finds no worker and starts another.
                self.working.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
                match self.store.notices(target, 1).await {
                    Ok(late) if !late.is_empty() && self.take_over(target) => continue,
                    _ => return,
                }
            }
            let (old, current): (Vec<_>, Vec<_>) = notices.into_iter().partition(is_too_old);
            if !old.is_empty() {
                tracing::warn!(notices = old.len(), "given up: no webhook took them for a day");
                self.forget(&old).await;
                continue;
            }
            match self.send(target, &current).await {
                Ok(()) => {
                    self.forget(&current).await;
                    backoff.reset();
                }
                Err(error) => {
                    let pause = backoff.next();
                    tracing::warn!(error, retry_in_ms = pause.as_millis(), "a webhook did not take notices");
                    sleep(pause).await;
                }
            }
        }
    }

    fn take_over(&self, target: &str) -> bool {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned())
    }

    async fn send(&self, target: &str, notices: &[Notice]) -> Result<(), String> {
        let url = if target == OWN { self.config.webhook.clone() } else { target.parse().ok() };
        let Some(url) = url else {
            // It was taken out of the configuration: nobody waits for them.
            return Ok(());
        };
        post(&self.config, &url, body(notices)).await
    }

    async fn forget(&self, notices: &[Notice]) {
        let ids = notices.iter().map(|notice| notice.id).collect();
        if let Err(error) = self.store.delete_notices(ids).await {
            tracing::error!(
                error = chain(&error),
                "could not store that notices were delivered: they come again"
            );
            sleep(PAUSES.0).await;
        }
    }
}

/// Posts a notice that says that it is a test.
pub(super) async fn test(config: &AlertConfig, url: &WebhookUrl) -> Result<(), String> {
    let alert = Alert {
        kind: "test".to_owned(),
        severity: AlertSeverity::Warning.into(),
        cause: "a test of the webhook: nothing is wrong".to_owned(),
        since_us: now_us(),
        ..Alert::default()
    };
    let notice =
        Notice { id: 0, target: OWN.to_owned(), alert, name: String::new(), environment: String::new() };
    post(config, url, body(&[notice])).await
}

async fn post(config: &AlertConfig, url: &WebhookUrl, body: Value) -> Result<(), String> {
    let secret = config.secret.as_ref().ok_or("the coordinator has no secret to sign with")?;
    let at_seconds = now_us() / 1_000_000;
    webhook::post(url, secret, at_seconds, body.to_string()).await
}

fn is_too_old(notice: &Notice) -> bool {
    let told_us = notice.alert.since_us.max(notice.alert.resolved_us);
    now_us().saturating_sub(told_us) > micros(GIVEN_UP)
}

/// The contract with receivers, which the README describes.
fn body(notices: &[Notice]) -> Value {
    let notice = |Notice { id, alert, name, environment, .. }: &Notice| {
        json!({
            "id": id,
            "status": if alert.resolved_us == 0 { "firing" } else { "resolved" },
            "kind": alert.kind,
            "severity": alert.severity().name(),
            "task": {"id": alert.task_id, "name": name, "environment": environment},
            "cause": alert.cause,
            "remedy": alert.remedy,
            "since_us": alert.since_us,
            "resolved_us": (alert.resolved_us != 0).then_some(alert.resolved_us),
        })
    };
    json!({"version": 1, "notices": notices.iter().map(notice).collect::<Vec<_>>()})
}
