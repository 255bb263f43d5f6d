//! What a task is configured to do, field for field the request.

use serde::Serialize;
use strait_proto::v1;

use super::options::{self, OptionsView};
use crate::document::pattern_text;

/// A task's configuration.
#[derive(Debug, Serialize)]
pub(crate) struct SpecView {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) environment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<EndpointReferenceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destination: Option<EndpointReferenceView>,
    /// schema, full and incremental, or some of them.
    pub(crate) synchronize: Vec<&'static str>,
    pub(crate) objects: SelectionView,
    /// Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) object_kinds: Vec<String>,
    /// insert, update, delete and truncate, or some of them.
    pub(crate) operations: Vec<&'static str>,
    /// fail or proceed.
    pub(crate) existing_tables: &'static str,
    /// default, source, lower or upper.
    pub(crate) name_case: &'static str,
    /// flatten or preserve.
    pub(crate) partitions: &'static str,
    pub(crate) retry: RetryPolicyView,
    /// stop or skip.
    pub(crate) on_error: &'static str,
    pub(crate) apply: ApplyPolicyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttle: Option<ThrottleView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alerts: Option<AlertPolicyView>,
}

/// How fast changes are sent at most.
#[derive(Debug, Serialize)]
pub(crate) struct ThrottleView {
    pub(crate) incremental: RateLimitsView,
}

/// Both hold at once; what is not limited is left out.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RateLimitsView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rows_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_second: Option<u64>,
}

/// A database, by the names that an agent gives it.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointReferenceView {
    pub(crate) agent: String,
    pub(crate) endpoint: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) database: String,
}

/// Which objects; an empty `include` means every schema that is not the system's or an extension's.
#[derive(Debug, Serialize)]
pub(crate) struct SelectionView {
    pub(crate) include: Vec<PatternView>,
    pub(crate) exclude: Vec<PatternView>,
}

/// Exact names, or with `*`, and what is said about their tables.
#[derive(Debug, Serialize)]
pub(crate) struct PatternView {
    schema: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    table: String,
    #[serde(flatten)]
    options: OptionsView,
    #[serde(skip)]
    pub(crate) text: String,
}

/// The retry windows; 0 asks for the coordinator's default.
#[derive(Debug, Serialize)]
pub(crate) struct RetryPolicyView {
    pub(crate) connection_minutes: u32,
    pub(crate) other_minutes: u32,
}

/// How changes are applied; 0 asks for the coordinator's default.
#[derive(Debug, Serialize)]
pub(crate) struct ApplyPolicyView {
    pub(crate) lanes: u32,
}

/// When somebody is told; what is not said has the coordinator's default.
#[derive(Debug, Serialize)]
pub(crate) struct AlertPolicyView {
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<bool>,
    latency_above_ms: u64,
    slot_retained_above_bytes: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    webhook: String,
}

/// The request that a document makes.
#[derive(Debug, Serialize)]
pub(crate) struct CreateRequestView {
    client_token: String,
    task_id: String,
    spec: SpecView,
}

impl From<&v1::TaskSpec> for SpecView {
    fn from(spec: &v1::TaskSpec) -> Self {
        let objects = spec.objects.clone().unwrap_or_default();
        let retry = spec.retry.unwrap_or_default();
        Self {
            name: spec.name.clone(),
            environment: spec.environment.clone(),
            source: spec.source.as_ref().map(EndpointReferenceView::from),
            destination: spec.destination.as_ref().map(EndpointReferenceView::from),
            synchronize: options::synchronize(spec),
            object_kinds: spec.object_kinds.clone(),
            operations: options::operations(spec),
            existing_tables: spec.existing_tables().word(),
            name_case: spec.name_case().word(),
            partitions: spec.partitions().word(),
            objects: SelectionView {
                include: objects.include.iter().map(PatternView::from).collect(),
                exclude: objects.exclude.iter().map(PatternView::from).collect(),
            },
            retry: RetryPolicyView {
                connection_minutes: retry.connection_minutes,
                other_minutes: retry.other_minutes,
            },
            on_error: spec.on_error().word(),
            alerts: spec.alerts.as_ref().map(|alerts| AlertPolicyView {
                on_failure: alerts.on_failure,
                latency_above_ms: alerts.latency_above_ms,
                slot_retained_above_bytes: alerts.slot_retained_above_bytes,
                webhook: alerts.webhook.clone(),
            }),
            apply: ApplyPolicyView { lanes: spec.apply.unwrap_or_default().lanes },
            throttle: spec
                .throttle
                .and_then(|throttle| throttle.incremental)
                .map(|limits| ThrottleView { incremental: RateLimitsView::from(&limits) }),
        }
    }
}

impl From<&v1::RateLimits> for RateLimitsView {
    fn from(limits: &v1::RateLimits) -> Self {
        let limited = |rate: u64| (rate != 0).then_some(rate);
        Self {
            rows_per_second: limited(limits.rows_per_second),
            bytes_per_second: limited(limits.bytes_per_second),
        }
    }
}

impl From<&v1::EndpointReference> for EndpointReferenceView {
    fn from(reference: &v1::EndpointReference) -> Self {
        Self {
            agent: reference.agent.clone(),
            endpoint: reference.endpoint.clone(),
            database: reference.database.clone(),
        }
    }
}

impl From<&v1::ObjectPattern> for PatternView {
    fn from(pattern: &v1::ObjectPattern) -> Self {
        let options = pattern.options.as_ref().map(OptionsView::from).unwrap_or_default();
        let (schema, table) = (pattern.schema.clone(), pattern.table.clone());
        Self { schema, table, options, text: pattern_text(pattern) }
    }
}

impl From<&v1::CreateTaskRequest> for CreateRequestView {
    fn from(request: &v1::CreateTaskRequest) -> Self {
        Self {
            client_token: request.client_token.clone(),
            task_id: request.task_id.clone(),
            spec: SpecView::from(request.spec.as_ref().unwrap_or(&v1::TaskSpec::default())),
        }
    }
}

impl std::fmt::Display for EndpointReferenceView {
    /// `agent/endpoint`, and `/database` where it is not the endpoint's own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.agent, self.endpoint)?;
        if self.database.is_empty() { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}
