//! The commands that ask a coordinator.

mod files;
mod follow;
mod task;
mod token;

use crate::args::Remote;
use crate::client::Coordinator;
use crate::error::Error;
use crate::output;
use crate::view::{AgentView, EndpointView};

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
pub(crate) async fn endpoints(remote: &Remote) -> Result<(), Error> {
    let agents = Coordinator::connect(remote).await?.agents().await?;
    let views: Vec<EndpointView> = agents.iter().flat_map(EndpointView::of).collect();
    output::print(remote.output, &views, |views| output::endpoints(views))
}
