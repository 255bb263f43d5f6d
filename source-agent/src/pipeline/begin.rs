//! Beginning tables: the whole task at first, single tables again where their copy cannot be continued.
//!
//! In this order, so that no change falls between the snapshot and the stream: identity and publication committed, then the
//! slot, which exports the snapshot, then the beginning at the destination. The catalog is read before and after the
//! slot: where it changed in between, the snapshot is not of what was read, and everything starts over.

use strait_postgres::replication::{ReplicationConnection, SlotLifetime};
use strait_postgres::{Dialect, catalog};
use strait_proto::v1::{self, ReplicaIdentity, TaskState};

use super::attempt::{Attempt, Begun};
use crate::capture::leaves::{self, PresentLeaf};
use crate::capture::{SnapshotLease, identity, publication, slot};
use crate::error::{During, RunError};
use crate::rows::RowRules;
use crate::sink::SchemaChoice;

impl Attempt<'_> {
    /// Begins a task that the destination knows nothing of. What an earlier attempt left is removed first.
    pub(super) async fn begin_fresh(
        &self,
        replication: Option<ReplicationConnection>,
        lease: &mut Option<SnapshotLease>,
    ) -> Result<Begun, RunError> {
        let (source, reporter) = (&self.run.source, &self.run.reporter);
        reporter.enter(TaskState::SchemaSync).await;
        *lease = None;
        for stale in [&source.copy_slot, &source.slot] {
            if slot::drop(&self.client, stale, &source.application_name).await? {
                tracing::info!(slot = %stale, "dropped a replication slot that an earlier attempt left");
            }
        }
        let model = self.load().await?;
        if model.tables.is_empty() {
            return Err(RunError::definite(
                "the selection covers no table that can be synchronised",
                "Change `objects` of the task: strait task precheck says what the selection finds.",
            ));
        }
        let mapped = self.mapped(&self.with_parents(&model).await?, &[]).await?;
        reporter.objects(mapped.model.skipped.clone()).await;
        self.sink.apply_schema(&mapped.model, self.schema_choice(), reporter).await?;

        if source.parts.full {
            reporter.enter(TaskState::FullSync).await;
        }
        let Some(replication) = replication else {
            return self.begin_without_changes(lease, reload_all).await;
        };
        let ddl = source.connect().await.during("connect to publish the tables")?;
        let rules = RowRules::asked(&self.run.mapping, &model);
        if let Some(newcomers) = &self.run.newcomers {
            publication::add(&ddl, &newcomers.task, &model, &rules, reporter).await?;
        }
        publication::establish(&ddl, source, &model, &rules, reporter).await?;
        let partitions = self.partitions(&model).await?;
        let server = self.client.server().await.during("look at the source")?;
        let lifetime = SlotLifetime::Permanent { failover: server.version.has_failover_slots() };
        let created =
            SnapshotLease::create(replication, &self.client, &source.slot, lifetime, reporter).await?;
        let model = self.unchanged(&model, &rules, reload_all).await?;
        let tables: Vec<&v1::Table> = model.tables.iter().collect();
        leaves::begin(&ddl, source, &tables, &partitions, &rules).await?;
        let states = self.begin_tables(&tables, &created).await?;
        *lease = Some(created);
        Ok(Begun { model, states })
    }

    /// Begins tables again under a fresh snapshot; it replaces the lease, which nothing needs any more. Those that the
    /// source does not have any more are left out.
    pub(super) async fn begin_again(
        &self,
        table_ids: &[u32],
        lease: &mut Option<SnapshotLease>,
    ) -> Result<Begun, RunError> {
        let (source, reporter) = (&self.run.source, &self.run.reporter);
        *lease = None;
        slot::drop(&self.client, &source.copy_slot, &source.application_name).await?;
        let only_these = |mut model: v1::SchemaModel| {
            model.tables.retain(|table| table_ids.contains(&table.table_id));
            v1::SchemaModel { tables: model.tables, ..Default::default() }
        };
        if !source.parts.incremental {
            return self.begin_without_changes(lease, only_these).await;
        }
        let model = only_these(self.load().await?);
        // What was dropped before its copy was complete must not keep the others from beginning.
        let table_ids: Vec<u32> = model.tables.iter().map(|table| table.table_id).collect();
        if table_ids.is_empty() {
            return Ok(Begun { model, states: Vec::new() });
        }
        let ddl = source.connect().await.during("connect to publish the tables")?;
        let rules = RowRules::asked(&self.run.mapping, &model).kept_by(&self.record().await?);
        publication::add(&ddl, source, &model, &rules, reporter).await?;
        let partitions = self.partitions(&model).await?;
        let replication = source.connect_replication().await.during("connect for a snapshot")?;
        let created = SnapshotLease::create(
            replication,
            &self.client,
            &source.copy_slot,
            SlotLifetime::Temporary,
            reporter,
        )
        .await?;
        let model = self.unchanged(&model, &rules, only_these).await?;
        let tables: Vec<&v1::Table> = model.tables.iter().collect();
        leaves::begin(&ddl, source, &tables, &partitions, &rules).await?;
        let states = self.begin_tables(&tables, &created).await?;
        *lease = Some(created);
        Ok(Begun { model, states })
    }

    /// Begins tables under a snapshot of their own, where no changes follow: nothing is made at the source.
    async fn begin_without_changes(
        &self,
        lease: &mut Option<SnapshotLease>,
        part: impl Fn(v1::SchemaModel) -> v1::SchemaModel,
    ) -> Result<Begun, RunError> {
        let before = part(self.load().await?);
        let client = self.run.source.connect().await.during("connect for a snapshot")?;
        let server = client.server().await.during("look at the source")?;
        let created = match server.dialect {
            Dialect::PostgreSql => SnapshotLease::export(client).await?,
            Dialect::Greenplum => SnapshotLease::hold(client).await?,
        };
        let model = part(self.load().await?);
        if !catalog::same_structure(&before, &model) {
            return Err(changed_meanwhile());
        }
        if model.tables.is_empty() {
            return Ok(Begun { model, states: Vec::new() });
        }
        let tables: Vec<&v1::Table> = model.tables.iter().collect();
        let states = self.begin_tables(&tables, &created).await?;
        *lease = Some(created);
        Ok(Begun { model, states })
    }

    fn schema_choice(&self) -> SchemaChoice {
        let spec = self.run.assign.spec.as_ref();
        let existing = spec.map(v1::TaskSpec::existing_tables).unwrap_or_default();
        SchemaChoice {
            use_existing: existing == v1::ExistingTables::Proceed,
            create_nothing: !self.run.source.parts.schema,
        }
    }

    async fn partitions(&self, model: &v1::SchemaModel) -> Result<Vec<PresentLeaf>, RunError> {
        let tables: Vec<u32> = model.tables.iter().map(|table| table.table_id).collect();
        leaves::present(&self.client, &tables).await
    }

    /// Reads the catalog again, now that the slot stands. Tables that still lack an identity count as changed.
    async fn unchanged(
        &self,
        before: &v1::SchemaModel,
        rules: &RowRules,
        part: impl FnOnce(v1::SchemaModel) -> v1::SchemaModel,
    ) -> Result<v1::SchemaModel, RunError> {
        let model = part(self.load().await?);
        let tables: Vec<u32> = publication::published(&model).map(|table| table.table_id).collect();
        let lacking =
            identity::lacking(&self.client, &tables, rules).await.during("check the replica identities")?;
        if lacking.is_empty()
            && catalog::same_structure(&without_identities(before), &without_identities(&model))
        {
            return Ok(model);
        }
        Err(changed_meanwhile())
    }

    async fn begin_tables(
        &self,
        tables: &[&v1::Table],
        lease: &SnapshotLease,
    ) -> Result<Vec<v1::TableState>, RunError> {
        let table_ids = tables.iter().map(|table| table.table_id).collect();
        let keep_rows = !self.run.source.parts.full;
        let states = self.sink.begin_tables(table_ids, lease.consistent_point, keep_rows).await?;
        self.run.reporter.moved().await;
        tracing::info!(tables = tables.len(), begin_lsn = %lease.consistent_point, "the tables have begun");
        Ok(states)
    }
}

fn changed_meanwhile() -> RunError {
    RunError::transient("the schema of the source changed while the tables began: starting over")
}

fn reload_all(model: v1::SchemaModel) -> v1::SchemaModel {
    model
}

/// Identities are changed by the task itself in between.
fn without_identities(model: &v1::SchemaModel) -> v1::SchemaModel {
    let mut model = model.clone();
    for table in &mut model.tables {
        table.set_replica_identity(ReplicaIdentity::Unspecified);
        for leaf in &mut table.leaves {
            leaf.set_replica_identity(ReplicaIdentity::Unspecified);
        }
    }
    model
}
