//! The commands that ask a coordinator.

mod files;
mod follow;
mod task;
mod token;

use strait_proto::v1;

use crate::args::{Place, Remote, Role};
use crate::client::Coordinator;
use crate::error::Error;
use crate::output;
use crate::view::{AgentView, AlertView, EndpointStatusView, EndpointView, WebhookTestView};

pub(crate) use files::read_document;
pub(crate) use task::task;
pub(crate) use token::token;

/// `strait agents`.
pub(crate) async fn agents(remote: &Remote) -> Result<(), Error> {
    let agents = Coordinator::connect(remote).await?.agents().await?;
    let views: Vec<AgentView> = agents.iter().map(AgentView::from).collect();
    output::print(remote.output, &views, |views| output::agents(views))
}

/// `strait endpoints`.
pub(crate) async fn endpoints(place: &Place, remote: &Remote) -> Result<(), Error> {
    let mut agents = Coordinator::connect(remote).await?.agents().await?;
    agents.retain(|agent| place.agent.is_empty() || place.agent == agent.agent);
    let mut views: Vec<EndpointView> = agents.iter().flat_map(EndpointView::of).collect();
    views.retain(|view| place.endpoint.is_empty() || place.endpoint == view.endpoint);
    output::print(remote.output, &views, |views| output::endpoints(views))
}

/// `strait endpoints --check`.
pub(crate) async fn check_endpoints(place: Place, remote: &Remote) -> Result<(), Error> {
    let coordinator = Coordinator::connect(remote).await?;
    let found = coordinator.check_endpoints(place.agent, place.endpoint).await?;
    let views: Vec<EndpointStatusView> = found.iter().map(EndpointStatusView::from).collect();
    output::print(remote.output, &views, |views| output::endpoint_statuses(views))?;
    let silent = views.iter().filter(|view| view.failure.is_some()).count();
    if silent > 0 { Err(Error::EndpointsSilent(silent)) } else { Ok(()) }
}

/// `strait endpoints --remove-orphan`.
pub(crate) async fn remove_orphan(task_id: String, place: Place, remote: &Remote) -> Result<(), Error> {
    let Place { agent, endpoint, database, role } = place;
    let role = match role {
        Some(Role::Source) => v1::AgentRole::Source,
        Some(Role::Sink) => v1::AgentRole::Sink,
        None => v1::AgentRole::Unspecified,
    };
    let request = v1::RemoveOrphanRequest { role: role.into(), agent, endpoint, database, task_id };
    let actions = Coordinator::connect(remote).await?.remove_orphan(request).await?;
    output::print(remote.output, &actions, |actions| match actions.as_slice() {
        [] => "nothing was left there".to_owned(),
        actions => actions.join("\n"),
    })
}

/// `strait alerts`.
pub(crate) async fn alerts(task: String, remote: &Remote) -> Result<(), Error> {
    let alerts = Coordinator::connect(remote).await?.alerts(task).await?;
    let views: Vec<AlertView> = alerts.iter().map(AlertView::from).collect();
    output::print(remote.output, &views, |views| output::alerts(views))
}

/// `strait alerts --test`.
pub(crate) async fn test_alerts(task: String, remote: &Remote) -> Result<(), Error> {
    let tests = Coordinator::connect(remote).await?.test_alerts(task).await?;
    let views: Vec<WebhookTestView> = tests.into_iter().map(WebhookTestView::from).collect();
    output::print(remote.output, &views, |views| output::webhook_tests(views))?;
    let is_delivered = !views.is_empty() && views.iter().all(|view| view.delivered);
    if is_delivered { Ok(()) } else { Err(Error::NotDelivered) }
}
