//! Partitions that come, go and move, where partitioned tables keep their structure.
//!
//! ```text
//!  catalog ── other places than before ──► the log's end, noted ── destination has passed it ──► the sink arranges
//! ```
//!
//! Nothing of the stream tells of ATTACH, DETACH and DROP, so the catalog is asked. What it shows has happened before the log's
//! end of that moment: once the destination is there, no change under older bounds is to come any more, and the destination
//! can become what the source was. A change that comes under newer ones is not in the way: there the partition gives way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strait_postgres::Client;
use strait_proto::Lsn;
use strait_proto::v1::{self, CopyPhase, PartitionOf, TableIssue, TableIssueKind, TableName, TableState};
use tokio::time::Instant;

use super::positions::Positions;
use crate::capture::slot::parse_lsn;
use crate::error::{During, RunError};
use crate::mapping::Mapping;
use crate::reporter::Reporter;
use crate::sink::Sink;
use crate::source::Source;

/// The sink detaches a partition whose bounds refuse a row: it is looked after again this often.
const REPEAT_INTERVAL: Duration = Duration::from_secs(20);

/// Why a partition is not followed any more.
pub(crate) const DETACHED: &str = "it was detached at the source, and the task says nothing, or something else, of it as a table of \
                                   its own: it stays at the destination as it is";

/// $1: the task's tables. A partition that is being detached is none any more.
const PLACES: &str = "
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, i.inhparent AS parent,
           coalesce(pg_get_expr(c.relpartbound, c.oid), '') AS bound
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_inherits AS i
           ON i.inhrelid = c.oid AND c.relispartition
          AND NOT coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false)
    WHERE c.oid = ANY ($1::oid[])";

/// A table of the task as the source has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: TableName,
    /// The table that it is a partition of, if that is the task's too, and its bounds.
    within: Option<(u32, String)>,
}

/// What is there of the task's tables.
type Places = BTreeMap<u32, Place>;

/// Watches the partitions of a task.
#[derive(Debug)]
pub(super) struct PartitionWatch {
    /// Those that go on as they are once they are detached.
    stand_alone: BTreeSet<u32>,
    /// Empty where partitioned tables are flattened.
    tables: BTreeMap<u32, TableState>,
    /// Partitions that the source drops are dropped.
    drops: bool,
    /// What the destination has.
    arranged: Option<(Instant, Places)>,
    /// What it is to have once it is at that position.
    coming: Option<(Lsn, Places)>,
}

impl PartitionWatch {
    /// `model` has the tables as the stream began.
    pub(super) fn new(
        source: &Source,
        states: &[TableState],
        model: &v1::SchemaModel,
        mapping: &Mapping,
    ) -> Self {
        let tables = states.iter().filter(|_| source.keeps_partitions);
        let tables = tables.map(|state| (state.table_id, state.clone())).collect();
        let stands_alone = |table: &&v1::Table| {
            let parent = table.partition_parent();
            parent.is_none_or(|parent| mapping.stands_alone_alike(&table.table_name(), parent))
        };
        let stand_alone = model.tables.iter().filter(stands_alone).map(|table| table.table_id).collect();
        Self { stand_alone, tables, drops: source.drops_partitions(), arranged: None, coming: None }
    }

    /// Looks at the catalog, and has the destination follow as soon as it may.
    ///
    /// # Errors
    /// [`RunError::TablesJoined`] where the task has other tables now: its stream has to start anew.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        sink: &Sink,
        positions: &Positions,
        reporter: &Reporter,
    ) -> Result<(), RunError> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let present = self.present(client).await?;
        let is_coming = self.coming.as_ref().is_some_and(|(_, coming)| *coming == present);
        let arranged = self.arranged.as_ref().filter(|(at, _)| at.elapsed() < REPEAT_INTERVAL);
        if arranged.is_some_and(|(_, places)| *places == present) {
            self.coming = None;
            return Ok(());
        }
        if !is_coming {
            self.coming = Some((log_end(client).await?, present));
            return Ok(());
        }
        match &self.coming {
            Some((passed, places)) if positions.applied() >= *passed => {
                let places = places.clone();
                self.arrange(places, sink, positions, reporter).await
            }
            _ => Ok(()),
        }
    }

    async fn present(&self, client: &Client) -> Result<Places, RunError> {
        const DOING: &str = "look at the partitions";
        let tables: Vec<u32> = self.tables.keys().copied().collect();
        let mut present = Places::new();
        for row in client.query(PLACES, &[&tables]).await.during(DOING)? {
            let text = |column| row.try_get::<_, String>(column).during(DOING);
            let parent: Option<u32> = row.try_get("parent").during(DOING)?;
            let parent = parent.filter(|parent| self.tables.contains_key(parent));
            let bound = text("bound")?;
            let place = Place {
                name: TableName::new(text("schema")?, text("name")?),
                within: parent.map(|parent| (parent, bound)),
            };
            present.insert(row.try_get("oid").during(DOING)?, place);
        }
        Ok(present)
    }

    async fn arrange(
        &mut self,
        places: Places,
        sink: &Sink,
        positions: &Positions,
        reporter: &Reporter,
    ) -> Result<(), RunError> {
        let response = sink.arrange_partitions(self.wanted(&places), self.dropped(&places)).await?;
        for done in &response.done {
            reporter.notice(done.clone()).await;
        }
        for problem in &response.problems {
            let table = problem.table.clone().unwrap_or_default();
            let reason =
                format!("its place among the partitions is not as at the source: {}", problem.reason);
            reporter.notice_once(format!("table {table}: {reason}")).await;
            positions.marks.mark(&TableIssue {
                table: Some(table),
                kind: TableIssueKind::NotArranged.into(),
                reason,
                remedy: "It is tried again every few seconds, and its rows keep coming.".to_owned(),
            });
        }
        let left = self.leave_detached(&places, sink, reporter).await?;
        if left || !response.done.is_empty() {
            return Err(RunError::TablesJoined);
        }
        if response.problems.is_empty() {
            self.arranged = Some((Instant::now(), places));
            self.coming = None;
        }
        Ok(())
    }

    /// Under the destination's names.
    fn wanted(&self, places: &Places) -> Vec<v1::PartitionPlace> {
        let place = |(table_id, place): (&u32, &Place)| {
            let within = place.within.as_ref();
            let partition_of = within.and_then(|(parent, bound)| {
                let parent = self.tables.get(parent)?.table.clone();
                Some(PartitionOf { parent, bound: bound.clone() })
            });
            v1::PartitionPlace { table_id: *table_id, partition_of }
        };
        places.iter().map(place).collect()
    }

    fn dropped(&self, places: &Places) -> Vec<u32> {
        let gone: BTreeSet<u32> = self.tables.keys().copied().filter(|id| !places.contains_key(id)).collect();
        gone.into_iter().filter(|_| self.drops).collect()
    }

    /// A detached partition goes on as a table of its own where the task says the same of it then. Otherwise its changes are
    /// left out from here on, and it joins anew if the task covers it.
    async fn leave_detached(
        &self,
        places: &Places,
        sink: &Sink,
        reporter: &Reporter,
    ) -> Result<bool, RunError> {
        let is_detached = |(table_id, place): &(&u32, &Place)| {
            let state = &self.tables[*table_id];
            place.within.is_none()
                && state.partition_of.is_some()
                && state.phase() != CopyPhase::Suspended
                && !self.stand_alone.contains(*table_id)
        };
        let mut left = false;
        for (table_id, place) in places.iter().filter(is_detached) {
            sink.suspend(*table_id, DETACHED.to_owned()).await?;
            reporter.notice(format!("table {}: {DETACHED}", place.name)).await;
            left = true;
        }
        Ok(left)
    }
}

/// Everything that the catalog has shown was committed before it.
async fn log_end(client: &Client) -> Result<Lsn, RunError> {
    const DOING: &str = "read the end of the log";
    let row = client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.during(DOING)?;
    parse_lsn(&row.try_get::<_, String>(0).during(DOING)?).during(DOING)
}
