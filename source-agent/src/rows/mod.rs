//! What a task does to rows before they leave the source's zone: at present, which of them it leaves out.
//!
//! ```text
//!  full copy    condition ─► WHERE of each chunk's COPY
//!  stream       changes ─► Stage: rows of filtered tables gathered ─► Evaluator: the source itself evaluates the condition
//!                                                                     on the old and the new row ─► transition ─► changes
//! ```
//!
//! A condition means the same in both, because PostgreSQL evaluates it in both, in sessions with the same settings. It is not
//! pushed into the publication: a column of a publication's WHERE can neither be retyped nor dropped at the source.
//!
//! Which tables are filtered, and how, is recorded at the source when they begin, by their oids: a table that is renamed goes
//! on with the condition it began with.

mod evaluate;
mod filter;
mod stage;
mod transition;

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_proto::v1;

use crate::capture::record::Record;
use crate::mapping::Mapping;

pub(crate) use filter::{Filter, RESERVED_NAMES, ROW_ALIAS, not_evaluated};
pub(crate) use stage::Stage;
pub(crate) use transition::{Described, FilteredRelation};

/// The rules of a task's tables, by their oids.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowRules {
    filters: BTreeMap<u32, Arc<Filter>>,
}

impl RowRules {
    /// What the task says about the tables as they are named now.
    pub(crate) fn asked(mapping: &Mapping, model: &v1::SchemaModel) -> Self {
        let filter = |table: &v1::Table| {
            let options = mapping.options(&table.table_name());
            (!options.r#where.is_empty()).then(|| (table.table_id, Arc::new(Filter::new(options.r#where))))
        };
        Self { filters: model.tables.iter().filter_map(filter).collect() }
    }

    /// What the tables began with.
    pub(crate) fn recorded(record: &Record) -> Self {
        let filters = record.filters.iter();
        Self { filters: filters.map(|(id, text)| (*id, Arc::new(Filter::new(text.clone())))).collect() }
    }

    /// These, but what the tables began with where they have begun before.
    #[must_use]
    pub(crate) fn kept_by(mut self, record: &Record) -> Self {
        self.filters.extend(Self::recorded(record).filters);
        self
    }

    /// The same rules for the leaves of the model's tables too, under their own oids.
    #[must_use]
    pub(crate) fn with_leaves(&self, model: &v1::SchemaModel) -> Self {
        let mut all = self.clone();
        for table in &model.tables {
            for leaf in &table.leaves {
                all.filters.extend(self.of_leaf(table.table_id, leaf.relation_id).filters);
            }
        }
        all
    }

    /// The same rules for a leaf of a table, under its own oid.
    pub(crate) fn of_leaf(&self, table_id: u32, relation_id: u32) -> Self {
        let filter = self.filter(table_id).map(|filter| (relation_id, Arc::clone(filter)));
        Self { filters: filter.into_iter().collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The condition on a table's rows, if there is one.
    pub(crate) fn filter(&self, table_id: u32) -> Option<&Arc<Filter>> {
        self.filters.get(&table_id)
    }

    /// The filtered tables' oids and their conditions.
    pub(crate) fn conditions(&self) -> (Vec<u32>, Vec<&str>) {
        self.filters.iter().map(|(table_id, filter)| (*table_id, filter.condition())).unzip()
    }
}
