//! What needs somebody's attention: alerts, and what stands at the endpoints.

use std::collections::BTreeSet;

use super::style::{clean, indented};
use super::table::{Column, Table};
use super::units::bytes;
use crate::view::{AlertView, EndpointStatusView, WebhookTestView};

/// `strait alerts`.
pub(crate) fn alerts(alerts: &[AlertView]) -> String {
    if alerts.is_empty() {
        return "no alerts".to_owned();
    }
    let mut out = String::new();
    for alert in alerts {
        out.push_str(&format!(
            "{} {} of task {}, since {}\n",
            alert.severity,
            clean(&alert.kind),
            alert.task_id,
            alert.since
        ));
        out.push_str(&indented("", 4, &alert.cause));
        out.push_str(&indented("    do", 7, &alert.remedy));
    }
    out
}

/// `strait alerts test`.
pub(crate) fn webhook_tests(tests: &[WebhookTestView]) -> String {
    let line = |test: &WebhookTestView| {
        let became = if test.delivered { "delivered" } else { &test.error };
        format!("{}: {}\n", clean(&test.url), clean(became))
    };
    if tests.is_empty() {
        return "no webhook; start the coordinator with --webhook, or give the task `alerts: {webhook: …}`"
            .to_owned();
    }
    tests.iter().map(line).collect()
}

/// `strait endpoints --check`: each database, its slots, and what belongs to nobody.
pub(crate) fn endpoint_statuses(endpoints: &[EndpointStatusView]) -> String {
    let mut table = Table::new(&[
        ("AGENT", Column::Flexible),
        ("ENDPOINT", Column::Flexible),
        ("ROLE", Column::Left),
        ("DATABASE", Column::Flexible),
        ("ANSWER", Column::Flexible),
    ]);
    for endpoint in endpoints {
        let answer = endpoint.failure.as_ref().map_or(&endpoint.server, |failure| &failure.cause);
        let EndpointStatusView { agent, endpoint: name, role, database, .. } = endpoint;
        table.row([agent.clone(), name.clone(), (*role).to_owned(), database.clone(), answer.clone()]);
    }
    table.render() + &slots(endpoints) + &orphans(endpoints)
}

fn slots(endpoints: &[EndpointStatusView]) -> String {
    let all: Vec<_> = endpoints.iter().flat_map(|it| it.slots.iter().map(move |slot| (it, slot))).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("SLOT", Column::Left),
        ("ENDPOINT", Column::Flexible),
        ("ACTIVE", Column::Left),
        ("KEEPS", Column::Right),
        ("LOG", Column::Left),
        ("UNTIL LOST", Column::Right),
    ]);
    for (endpoint, slot) in all {
        let left = slot.safe_wal_bytes.map(|left| bytes(u64::try_from(left).unwrap_or(0)));
        table.row([
            slot.name.clone(),
            format!("{}/{}", endpoint.agent, endpoint.endpoint),
            if slot.active { "yes" } else { "no" }.to_owned(),
            bytes(slot.retained_bytes),
            slot.wal_status.clone(),
            left.unwrap_or_default(),
        ]);
    }
    format!("\n{}", table.render())
}

fn orphans(endpoints: &[EndpointStatusView]) -> String {
    let mut out = String::new();
    for endpoint in endpoints.iter().filter(|endpoint| !endpoint.orphans.is_empty()) {
        let EndpointStatusView { agent, endpoint: name, role, database, orphans, .. } = endpoint;
        let place = clean(&format!("{agent}/{name}/{database}")).into_owned();
        out.push_str(&format!("\nof no task of this coordinator, at {place}:\n"));
        for orphan in orphans {
            out.push_str(&format!("  {} {}\n", orphan.kind, clean(&orphan.name)));
        }
        let tasks: BTreeSet<&str> = orphans.iter().map(|orphan| orphan.task_id.as_str()).collect();
        out.push_str("  if no other coordinator has them:\n");
        for task in tasks {
            let command = format!(
                "strait endpoints --remove-orphan {task} --agent {agent} --role {role} --endpoint {name} --database {database}"
            );
            out.push_str(&format!("    {}\n", clean(&command)));
        }
    }
    out
}
