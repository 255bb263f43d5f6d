//! The full copy of whatever is missing, until every table is ready, suspended, or gone from the source.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use strait_proto::v1::{self, CopyPhase, TaskState};

use super::attempt::{Attempt, Begun};
use crate::capture::SnapshotLease;
use crate::copy::{
    CopyCounters, CopyRun, PlannedTable, TableCounter, TablePlan, copied_columns, plan_tables,
};
use crate::error::RunError;
use crate::mapping::Mapped;
use crate::rows::RowRules;

/// What is left of a full copy.
#[derive(Default)]
struct Missing {
    /// Can go on under the snapshot, or are copied already.
    going_on: Vec<PlannedTable>,
    /// Have to begin again: their snapshot is gone, or they were altered.
    again: Vec<u32>,
}

impl Missing {
    /// Partitioned tables that keep their structure are finished once their partitions are, and each after its parent: what is
    /// added to one locks all below it, and comes to those that are partitioned themselves.
    fn structure_last(&mut self, tables: &HashMap<u32, &v1::Table>) {
        let pending = self.going_on.iter().map(|table| &table.table_id).chain(&self.again);
        let pending: Vec<&v1::Table> = pending.filter_map(|table_id| tables.get(table_id).copied()).collect();
        let rows_remain = pending.iter().any(|table| !table.is_structure());
        let below = |table: &v1::Table| {
            let parent = table.partition_parent();
            parent.is_some_and(|parent| pending.iter().any(|it| it.table_name() == *parent))
        };
        let waits = |table: &&v1::Table| table.is_structure() && (rows_remain || below(table));
        let waiting: Vec<u32> = pending.iter().copied().filter(waits).map(|table| table.table_id).collect();
        self.going_on.retain(|table| !waiting.contains(&table.table_id));
        self.again.retain(|table_id| !waiting.contains(table_id));
    }
}

impl Attempt<'_> {
    /// Copies and finishes the tables that are not ready. Afterwards all of them are, but for those that were dropped at
    /// the source and those that stay suspended.
    pub(super) async fn copy(
        &self,
        mut begun: Begun,
        lease: &mut Option<SnapshotLease>,
    ) -> Result<Begun, RunError> {
        loop {
            let mapped = self.mapped(&begun.model, &begun.states).await?;
            let missing = self.missing(&begun, &mapped, lease).await?;
            if missing.going_on.is_empty() && missing.again.is_empty() {
                return Ok(begun);
            }
            if self.run.source.parts.full {
                self.run.reporter.enter(TaskState::FullSync).await;
            }
            let mut again = missing.again;
            if !missing.going_on.is_empty() {
                again.extend(self.copy_tables(&mut begun, &mapped, missing.going_on, lease.as_ref()).await?);
            }
            if !again.is_empty() {
                let restarted = self.begin_again(&again, lease).await?;
                let gone = |table: &v1::Table| {
                    again.contains(&table.table_id)
                        && !restarted.model.tables.iter().any(|known| known.table_id == table.table_id)
                };
                begun.model.tables.retain(|table| !gone(table));
                replace(&mut begun, restarted);
            }
        }
    }

    /// Copies and finishes tables, and notes where they stand then. Returns those that have to begin again.
    async fn copy_tables(
        &self,
        begun: &mut Begun,
        mapped: &Mapped,
        tables: Vec<PlannedTable>,
        lease: Option<&SnapshotLease>,
    ) -> Result<Vec<u32>, RunError> {
        let going_on: Vec<u32> = tables.iter().map(|table| table.table_id).collect();
        let counters = Arc::new(CopyCounters::new(&mapped.model, &begun.states));
        let run = CopyRun {
            source: self.run.source.clone(),
            sink: self.sink.clone(),
            reporter: self.run.reporter.clone(),
            counters: Arc::clone(&counters),
            snapshot: lease.map(|lease| lease.snapshot.clone()),
            connections: self.run.copy_connections,
            tracker: self.run.tracker.clone(),
        };
        let rewritten = run.run(tables).await?;
        for state in &mut begun.states {
            if going_on.contains(&state.table_id) && !rewritten.contains(&state.table_id) {
                state.set_phase(CopyPhase::Ready);
                state.rows = counters.table(state.table_id).map_or(state.rows, TableCounter::rows);
            }
        }
        Ok(rewritten)
    }

    /// What is not ready, and how it can become so.
    async fn missing(
        &self,
        begun: &Begun,
        mapped: &Mapped,
        lease: &mut Option<SnapshotLease>,
    ) -> Result<Missing, RunError> {
        let tables: HashMap<u32, &v1::Table> =
            begun.model.tables.iter().map(|table| (table.table_id, table)).collect();
        if let Some(standing) = lease
            && !standing.is_alive().await
        {
            *lease = None;
        }
        if !self.run.source.parts.full {
            return Ok(without_rows(begun, &tables));
        }
        if let Some(again) = self.all_again(begun, lease.as_ref()) {
            return Ok(Missing { going_on: Vec::new(), again });
        }
        if let Some(lease) = lease {
            self.plan_begun(begun, &tables, mapped, lease).await?;
        }
        let mut missing = Missing::default();
        for state in begun.states.iter().filter(|state| state.phase() != CopyPhase::Ready) {
            let copied = state.phase() == CopyPhase::Copied;
            let table = tables.get(&state.table_id).copied();
            if state.phase() == CopyPhase::Suspended {
                // It joins again beside the stream, but under its old name alone.
                let joins = |table: &v1::Table| {
                    self.run.lets_join() && state.table == Some(self.run.mapping.target(&table.table_name()))
                };
                // One that was there before keeps the rows that it has, so what it missed would stay missing.
                if !state.adopted && table.is_some_and(|table| fits(table, state, mapped) && !joins(table)) {
                    missing.again.push(state.table_id);
                }
                continue;
            }
            let plan = match (table, lease.as_mut()) {
                (Some(table), Some(lease)) => plan_of(state, table, mapped, lease),
                _ => None,
            };
            match (plan, table) {
                (Some(plan), Some(table)) => missing.going_on.push(planned(state, table, plan, copied)),
                // Its rows are all there, so its chunks do not matter any more.
                (None, Some(table)) if copied => {
                    let plan = TablePlan::unknown(state.generation);
                    missing.going_on.push(planned(state, table, plan, copied));
                }
                // Dropped at the source: it stays as it is.
                (_, None) => {}
                _ => missing.again.push(state.table_id),
            }
        }
        missing.structure_last(&tables);
        Ok(missing)
    }

    /// Where no changes follow, the destination has the rows of one snapshot or of none: once that is gone before all is
    /// copied, every table begins again. What was merged into tables that were there before stays.
    fn all_again(&self, begun: &Begun, lease: Option<&SnapshotLease>) -> Option<Vec<u32>> {
        let is_whole = |state: &v1::TableState| matches!(state.phase(), CopyPhase::Ready | CopyPhase::Copied);
        let is_over = lease.is_none() && !begun.states.iter().all(is_whole);
        if self.run.source.parts.incremental || !is_over {
            return None;
        }
        let exists =
            |state: &v1::TableState| begun.model.tables.iter().any(|table| table.table_id == state.table_id);
        let again = begun.states.iter().filter(|state| exists(state) && !(state.adopted && is_whole(state)));
        Some(again.map(|state| state.table_id).collect()).filter(|again: &Vec<u32>| !again.is_empty())
    }

    /// Plans the tables that have begun under this lease and have no plan yet.
    async fn plan_begun(
        &self,
        begun: &Begun,
        tables: &HashMap<u32, &v1::Table>,
        mapped: &Mapped,
        lease: &mut SnapshotLease,
    ) -> Result<(), RunError> {
        let fresh = begun.states.iter().filter(|state| {
            state.phase() == CopyPhase::Copying
                && state.begin_lsn == lease.consistent_point.0
                && state.chunks_done.is_empty()
                && !lease.plans.contains_key(&state.table_id)
        });
        let generations: BTreeMap<u32, u32> = fresh.map(|state| (state.table_id, state.generation)).collect();
        let tables: Vec<&v1::Table> = generations.keys().filter_map(|id| tables.get(id).copied()).collect();
        if !tables.is_empty() {
            // Where no changes follow nothing is recorded at the source: the rules are the task's.
            let rules = if self.run.source.parts.incremental {
                RowRules::recorded(&self.record().await?)
            } else {
                RowRules::asked(&self.run.mapping, &begun.model)
            };
            lease.plans.extend(plan_tables(&self.client, &tables, mapped, &generations, &rules).await?);
        }
        Ok(())
    }
}

/// Tables that have begun and get no rows of the source are finished at once; suspended ones stay so, because nothing would
/// bring what they missed.
fn without_rows(begun: &Begun, tables: &HashMap<u32, &v1::Table>) -> Missing {
    let unfinished =
        |state: &&v1::TableState| !matches!(state.phase(), CopyPhase::Ready | CopyPhase::Suspended);
    let going_on = begun.states.iter().filter(unfinished).filter_map(|state| {
        let table = tables.get(&state.table_id)?;
        Some(planned(state, table, TablePlan::unknown(state.generation), true))
    });
    Missing { going_on: going_on.collect(), again: Vec::new() }
}

/// Whether a suspended table can begin over: the destination has a column for each that is written.
pub(crate) fn fits(table: &v1::Table, state: &v1::TableState, mapped: &Mapped) -> bool {
    let mut written = copied_columns(table, mapped).into_iter();
    !state.destination_columns.is_empty()
        && written.all(|column| state.destination_columns.contains(&column.target))
}

/// The plan that a table's ledger belongs to, if the table can go on by it.
fn plan_of(
    state: &v1::TableState,
    table: &v1::Table,
    mapped: &Mapped,
    lease: &mut SnapshotLease,
) -> Option<TablePlan> {
    if state.begin_lsn != lease.consistent_point.0 {
        return None;
    }
    let plan = lease.plans.get_mut(&state.table_id)?;
    (plan.generation == state.generation && plan.refit(table, mapped)).then(|| plan.clone())
}

fn planned(state: &v1::TableState, table: &v1::Table, plan: TablePlan, copied: bool) -> PlannedTable {
    PlannedTable {
        table_id: state.table_id,
        name: table.table_name(),
        size_bytes: table.size_bytes,
        plan,
        chunks_done: state.chunks_done.iter().copied().collect(),
        copied,
    }
}

/// Takes over what is known of tables that began again.
fn replace(begun: &mut Begun, restarted: Begun) {
    for table in restarted.model.tables {
        if let Some(known) = begun.model.tables.iter_mut().find(|known| known.table_id == table.table_id) {
            *known = table;
        }
    }
    for state in restarted.states {
        if let Some(known) = begun.states.iter_mut().find(|known| known.table_id == state.table_id) {
            *known = state;
        }
    }
}
