//! What scripts see: the wire's messages as JSON and YAML objects, and what the tables are made from.
//!
//! These shapes are a contract of their own: the wire may gain fields without changing them. States and
//! outcomes are words in kebab case, positions in the log are text as PostgreSQL prints it, times are RFC
//! 3339 in UTC, durations and sizes are numbers whose unit is the end of their name. What is not known is
//! left out.

mod agent;
mod alert;
mod endpoint;
mod hops;
mod line;
mod object;
mod options;
mod plan;
mod precheck;
mod progress;
mod spec;
mod task;
mod time;
mod token;

pub(crate) use agent::{AgentView, EndpointView};
pub(crate) use alert::{AlertView, WebhookTestView};
pub(crate) use endpoint::EndpointStatusView;
pub(crate) use hops::{HopBytesView, HopsView, OldestView};
pub(crate) use line::{EventView, Line, ProgressLine, StateLine};
pub(crate) use object::{ObjectCounts, ObjectView};
pub(crate) use plan::{DryRunView, PlanView};
pub(crate) use precheck::{PrecheckItemView, PrecheckView};
pub(crate) use progress::{
    CopyView, ProgressView, RateView, StreamView, TableConflictsView, TableIssueView, TableView,
};
pub(crate) use spec::{CreateRequestView, PatternView, RateLimitsView, SpecView};
pub(crate) use task::{FailureView, RetryView, TaskView};
pub(crate) use time::{clock, date_and_clock, now_us, rfc3339, seconds_until};
pub(crate) use token::{NewTokenView, TokenView};

/// Leaves out what is 0, which the wire uses for "not known".
fn known_time(at_us: i64) -> Option<String> {
    (at_us != 0).then(|| rfc3339(at_us))
}
