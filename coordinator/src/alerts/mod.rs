//! What operators are told of without asking.
//!
//! ```text
//!   tasks, agents, slots ─► rules (pure) ─► what holds ─► store: alerts, notices ─► deliver ─► webhooks
//!                                              └─► events of the task, `strait alerts`
//! ```
//!
//! An alert begins once what it says has held for two looks, and is over once it has not held for a while: what flaps makes one
//! notice, not a storm. A notice is stored before it is sent and until it has arrived, so neither a receiver that is down nor a
//! restart of the coordinator loses or doubles one; a receiver that gets one twice all the same knows it by its id.

mod deliver;
mod rules;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_proto::TaskId;
use strait_proto::v1::{Alert, SlotInfo};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use webhook::{Secret, WebhookUrl, WebhookUrlError};

use crate::clock::now_us;
use crate::store::{Notice, StoreError};
use crate::supervise::Supervisor;
use crate::task::spec;
use deliver::Deliveries;
use rules::{Facts, Finding};

/// Where notices go, besides the tasks' own webhooks, and what they are signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertConfig {
    /// For every task.
    pub webhook: Option<WebhookUrl>,
    /// Without it nothing is posted.
    pub secret: Option<Secret>,
}

/// How many looks in a row an alert has to hold for.
const LOOKS: u32 = 2;

/// Names one alert of one task: there is never more than one of a kind.
type Key = (TaskId, &'static str);

/// What is told of, or about to be.
struct Watched {
    alert: Alert,
    looks: u32,
    told: bool,
    /// Since when it does not hold any more.
    quiet_since: Option<Instant>,
}

/// Looks after all tasks until the coordinator ends.
pub(crate) async fn run(supervisor: Arc<Supervisor>, config: AlertConfig, stop: CancellationToken) {
    let deliveries = Deliveries::new(supervisor.store().clone(), config, stop.clone());
    let slots_due = Instant::now() + supervisor.timings().slot_interval;
    let mut watch =
        Watch { supervisor, deliveries, alerts: BTreeMap::new(), slots: BTreeMap::new(), slots_due };
    let work = async {
        watch.restore().await;
        loop {
            sleep(watch.supervisor.timings().alert_interval).await;
            watch.look().await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// Posts a notice that means nothing to the webhooks of a task, or to the coordinator's own.
pub(crate) async fn test(config: &AlertConfig, own: &str) -> Vec<(String, Result<(), String>)> {
    let mut results = Vec::new();
    let own = (!own.is_empty()).then(|| own.parse::<WebhookUrl>());
    for url in config.webhook.clone().map(Ok).into_iter().chain(own) {
        match url {
            Ok(url) => {
                let sent = deliver::test(config, &url).await;
                results.push((url.to_string(), sent));
            }
            Err(error) => results.push((String::new(), Err(error.to_string()))),
        }
    }
    results
}

struct Watch {
    supervisor: Arc<Supervisor>,
    deliveries: Deliveries,
    alerts: BTreeMap<Key, Watched>,
    /// What the tasks' slots were like at the last look.
    slots: BTreeMap<TaskId, SlotInfo>,
    slots_due: Instant,
}

impl Watch {
    /// Goes on with what was told before a restart.
    async fn restore(&mut self) {
        match self.supervisor.store().alerts().await {
            Ok(alerts) => {
                for alert in alerts {
                    let kind = rules::KINDS.iter().find(|kind| **kind == alert.kind);
                    if let (Some(kind), Ok(task_id)) = (kind, alert.task_id.parse()) {
                        let watched = Watched { alert, looks: LOOKS, told: true, quiet_since: None };
                        self.alerts.insert((task_id, *kind), watched);
                    }
                }
            }
            Err(error) => tracing::error!(%error, "could not read the alerts that hold"),
        }
        self.publish();
        self.deliveries.resume().await;
    }

    async fn look(&mut self) {
        if self.slots_due <= Instant::now() {
            self.slots_due = Instant::now() + self.supervisor.timings().slot_interval;
            self.slots = self.supervisor.slots_of_tasks().await;
        }
        let findings = self.findings();
        let quiet = self.supervisor.timings().alert_quiet;
        let (mut began, mut ended) = (Vec::new(), Vec::new());
        for (key, finding) in &findings {
            let watched = self.alerts.entry(key.clone()).or_insert_with(|| Watched {
                alert: finding.alert(&key.0, now_us()),
                looks: 0,
                told: false,
                quiet_since: None,
            });
            watched.quiet_since = None;
            watched.looks = watched.looks.saturating_add(1);
            // The words may change while it holds: `retained 12 GB`, then `13 GB`.
            let since_us = watched.alert.since_us;
            watched.alert = finding.alert(&key.0, since_us);
            if watched.looks >= LOOKS && !watched.told {
                watched.told = true;
                began.push(watched.alert.clone());
            }
        }
        self.alerts.retain(|key, watched| {
            if findings.contains_key(key) {
                return true;
            }
            let since = *watched.quiet_since.get_or_insert_with(Instant::now);
            let is_over = !watched.told || since.elapsed() >= quiet;
            if is_over && watched.told {
                ended.push(Alert { resolved_us: now_us(), ..watched.alert.clone() });
            }
            !is_over
        });
        if !began.is_empty() || !ended.is_empty() {
            self.tell(began, ended).await;
        }
        self.publish();
    }

    fn findings(&self) -> BTreeMap<Key, Finding> {
        let timings = *self.supervisor.timings();
        let mut found = BTreeMap::new();
        for view in self.supervisor.views() {
            let task_id = view.record.task_id.clone();
            let facts = Facts {
                now_us: now_us(),
                gone: self.supervisor.agents_gone(&view.record, timings.agent_gone),
                slot: self.slots.get(&task_id),
                paused_long: timings.paused_long,
            };
            found.extend(
                rules::findings(&view, &facts).into_iter().map(|it| ((task_id.clone(), it.kind), it)),
            );
        }
        found
    }

    /// Stores what there is to say, says it in the tasks' events, and has it delivered.
    async fn tell(&self, began: Vec<Alert>, ended: Vec<Alert>) {
        let mut notices = Vec::new();
        for alert in began.iter().chain(&ended) {
            let record = alert.task_id.parse().ok().and_then(|task_id| self.supervisor.record_of(&task_id));
            let own = record.as_ref().map(|record| spec::alerts_of(&record.spec).webhook).unwrap_or_default();
            let (name, environment) = record
                .map(|record| (record.spec.name.clone(), record.spec.environment.clone()))
                .unwrap_or_default();
            let notice = |target: String| Notice {
                id: 0,
                target,
                alert: alert.clone(),
                name: name.clone(),
                environment: environment.clone(),
            };
            notices.extend(self.deliveries.targets(&own).into_iter().map(notice));
        }
        let stored = self.supervisor.store().tell(began.clone(), ended.clone(), notices).await;
        if let Err(error) = stored {
            // It is told again after a restart; until then the list of alerts has it.
            tracing::error!(error = chain(&error), "could not store alerts");
            return;
        }
        for (alert, word) in
            began.iter().map(|it| (it, "alert")).chain(ended.iter().map(|it| (it, "alert is over")))
        {
            tracing::warn!(task = alert.task_id, kind = alert.kind, "{word}: {}", alert.cause);
            self.supervisor.note(&alert.task_id, format!("{word}: {}: {}", alert.kind, alert.cause)).await;
        }
        self.deliveries.resume().await;
    }

    fn publish(&self) {
        let mut by_task: BTreeMap<TaskId, Vec<Alert>> = BTreeMap::new();
        for ((task_id, _), watched) in self.alerts.iter().filter(|(_, watched)| watched.told) {
            by_task.entry(task_id.clone()).or_default().push(watched.alert.clone());
        }
        self.supervisor.set_alerts(by_task);
    }
}

fn chain(error: &StoreError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// How long a thing takes, for people: the two largest units.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}
