//! What a task would do.

use serde::Serialize;
use strait_proto::v1;

use super::{CreateRequestView, ObjectView, TaskView};

/// The answer of a dry run.
#[derive(Debug, Serialize)]
pub(crate) struct DryRunView {
    /// Field for field what `create` would send.
    pub(crate) request: CreateRequestView,
    /// As it would be made.
    pub(crate) task: TaskView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanView>,
    /// Why there is no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) without_plan: Option<String>,
}

/// Objects, statements and sizes.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView {
    pub(crate) tables: Vec<PlannedTableView>,
    /// Estimates from the catalog.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) objects: Vec<ObjectView>,
    /// In the order in which they would run.
    pub(crate) statements: Vec<String>,
}

/// A table of the source.
#[derive(Debug, Serialize)]
pub(crate) struct PlannedTableView {
    pub(crate) table: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl From<v1::TaskPlan> for PlanView {
    fn from(plan: v1::TaskPlan) -> Self {
        let table = |table: &v1::PlannedTable| PlannedTableView {
            table: table.table.clone().unwrap_or_default().to_string(),
            rows: table.rows,
            bytes: table.bytes,
        };
        Self {
            rows: plan.tables.iter().map(|table| table.rows).sum(),
            bytes: plan.tables.iter().map(|table| table.bytes).sum(),
            tables: plan.tables.iter().map(table).collect(),
            objects: plan.objects.iter().map(ObjectView::from).collect(),
            statements: plan.statements,
        }
    }
}
