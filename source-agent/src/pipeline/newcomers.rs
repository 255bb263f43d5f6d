//! The part of the source's model that joins a task.

use std::collections::BTreeSet;

use strait_proto::v1;

use super::attempt::Attempt;
use super::{Newcomers, Run};
use crate::error::RunError;

impl Run {
    /// Whether new tables join: not where the stream is about to end anyway, nor where they are joining already.
    pub(super) fn lets_join(&self) -> bool {
        !self.assign.once && self.newcomers.is_none()
    }
}

impl Newcomers {
    /// The tables that join, with what is theirs, and all types, sequences and routines of the selection that need no table:
    /// what stands at the destination is left as it is.
    pub(super) fn part_of(&self, model: &v1::SchemaModel) -> v1::SchemaModel {
        let tables = model.tables.iter().filter(|table| self.tables.contains(&table.table_id));
        let tables: Vec<v1::Table> = tables.cloned().collect();
        let is_theirs = |result: &&v1::ObjectResult| {
            tables.iter().any(|table| {
                let rest = result.name.strip_prefix(&table.name);
                table.schema == result.schema
                    && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let skipped = model.skipped.iter().filter(is_theirs).cloned().collect();
        let joins = |schema: &str, name: &str| tables.iter().any(|it| it.schema == schema && it.name == name);
        let goes_along = |object: &&v1::SchemaObject| match &object.relation {
            Some(relation) => joins(&relation.schema, &relation.name),
            None => object.table_ids.is_empty() && object.stage() == v1::SchemaStage::BeforeData,
        };
        let objects = model.objects.iter().filter(goes_along).cloned().collect();
        let comments = model.comments.iter().filter(|it| joins(&it.schema, &it.name)).cloned().collect();
        v1::SchemaModel {
            schemas: model.schemas.clone(),
            types: model.types.clone(),
            sequences: model.sequences.clone(),
            skipped,
            objects,
            comments,
            requirements: Vec::new(),
            tables,
        }
    }
}

impl Attempt<'_> {
    /// A model that also has the tables that these inherit from, which stand at the destination already.
    pub(super) async fn with_parents(&self, model: &v1::SchemaModel) -> Result<v1::SchemaModel, RunError> {
        let joins = self.run.newcomers.is_some();
        if !joins || model.tables.iter().all(|table| table.inherits.is_empty()) {
            return Ok(model.clone());
        }
        let all = self.load_whole().await?;
        let mut wanted: BTreeSet<u32> = model.tables.iter().map(|table| table.table_id).collect();
        // Parents stand before their children.
        for table in all.tables.iter().rev() {
            if wanted.contains(&table.table_id) {
                let is_parent = |it: &&v1::Table| table.inherits.contains(&it.table_name());
                wanted.extend(all.tables.iter().filter(is_parent).map(|parent| parent.table_id));
            }
        }
        let tables = all.tables.into_iter().filter(|table| wanted.contains(&table.table_id)).collect();
        Ok(v1::SchemaModel { tables, ..model.clone() })
    }
}
