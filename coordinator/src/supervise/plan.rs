//! What a task would do: the source-agent reads the schema, the sink-agent renders it. Nothing is stored, and no task is needed.

use strait_proto::v1::{self, command, command_result};

use super::Supervisor;
use super::work::wrong_answer;
use crate::error::RequestError;
use crate::task::{Side, TaskRecord};

impl Supervisor {
    /// The task that would be made of a specification, and what it would do.
    pub(crate) async fn plan(
        &self,
        spec: Option<v1::TaskSpec>,
    ) -> Result<(v1::Task, v1::TaskPlan), RequestError> {
        let record = self.described(spec)?;
        let read = self.ask_for_plan(&record, Side::Source, None).await.map_err(RequestError::Agent)?;
        let model = read.model.unwrap_or_default();
        let tables = model.tables.iter().map(planned).collect();
        let skipped = model.skipped.clone();
        let rendered =
            self.ask_for_plan(&record, Side::Sink, Some(model)).await.map_err(RequestError::Agent)?;
        let mut objects = rendered.objects;
        objects.extend(skipped);
        Ok((record.to_task(Vec::new()), v1::TaskPlan { tables, objects, statements: rendered.statements }))
    }

    async fn ask_for_plan(
        &self,
        record: &TaskRecord,
        side: Side,
        model: Option<v1::SchemaModel>,
    ) -> Result<v1::PlanResult, v1::Failure> {
        let (task_id, spec) = (record.task_id.to_string(), Some(record.spec.clone()));
        let request_id = format!("plan-{task_id}-{:016x}", rand::random::<u64>());
        let command = command::Command::Plan(v1::PlanCommand { task_id, spec, model });
        match self.ask(record, side, &request_id, command).await? {
            command_result::Result::Plan(plan) => Ok(plan),
            _ => Err(wrong_answer(side)),
        }
    }
}

fn planned(table: &v1::Table) -> v1::PlannedTable {
    v1::PlannedTable { table: Some(table.table_name()), rows: table.estimated_rows, bytes: table.size_bytes }
}
