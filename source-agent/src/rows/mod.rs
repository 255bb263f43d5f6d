//! What a task does to rows before they leave the source's zone: which of them it leaves out (`where`), and what it makes of
//! them (`transform`).
//!
//! ```text
//!  full copy    condition ─► WHERE of each chunk's COPY
//!  stream       changes ─► Stage: rows of filtered tables gathered ─► Evaluator: the source itself evaluates the condition
//!                                                                     on the old and the new row ─► transition
//!                                                                     ─► rules on both ─► transition ─► changes
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
mod transformed;
mod transition;

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_proto::v1;

use crate::capture::record::Record;
use crate::error::RunError;
use crate::mapping::Mapping;
use crate::transform::{RuleTrouble, TransformText};

pub(crate) use filter::{Filter, RESERVED_NAMES, ROW_ALIAS, not_evaluated};
pub(crate) use stage::Stage;
pub(crate) use transition::{Described, RowRule, RuledRelation, Transform};

/// The rules of a task's tables, by their oids.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowRules {
    filters: BTreeMap<u32, Arc<Filter>>,
    transforms: BTreeMap<u32, Arc<TransformText>>,
}

impl RowRules {
    /// What the task says about the tables as they are named now.
    pub(crate) fn asked(mapping: &Mapping, model: &v1::SchemaModel) -> Self {
        let filter = |table: &v1::Table| {
            let condition = mapping.options(&table.table_name()).r#where;
            (!condition.is_empty()).then(|| (table.table_id, Arc::new(Filter::new(condition))))
        };
        let transform = |table: &v1::Table| {
            let text = mapping.transform(&table.table_name(), table)?;
            Some((table.table_id, Arc::new(text)))
        };
        Self {
            filters: model.tables.iter().filter_map(filter).collect(),
            transforms: model.tables.iter().filter_map(transform).collect(),
        }
    }

    /// What the tables began with.
    pub(crate) fn recorded(record: &Record) -> Self {
        let filters = record.filters.iter();
        let transforms = record.transforms.iter();
        Self {
            filters: filters.map(|(id, text)| (*id, Arc::new(Filter::new(text.clone())))).collect(),
            transforms: transforms.map(|(id, text)| (*id, Arc::new(text.clone()))).collect(),
        }
    }

    /// These, but what the tables began with where they have begun before.
    #[must_use]
    pub(crate) fn kept_by(mut self, record: &Record) -> Self {
        let recorded = Self::recorded(record);
        self.filters.extend(recorded.filters);
        self.transforms.extend(recorded.transforms);
        self
    }

    /// The same rules for the leaves of the model's tables too, under their own oids.
    #[must_use]
    pub(crate) fn with_leaves(&self, model: &v1::SchemaModel) -> Self {
        let mut all = self.clone();
        for table in &model.tables {
            for leaf in &table.leaves {
                let of_leaf = self.of_leaf(table.table_id, leaf.relation_id);
                all.filters.extend(of_leaf.filters);
                all.transforms.extend(of_leaf.transforms);
            }
        }
        all
    }

    /// The same rules for a leaf of a table, under its own oid.
    pub(crate) fn of_leaf(&self, table_id: u32, relation_id: u32) -> Self {
        let filter = self.filter(table_id).map(|filter| (relation_id, Arc::clone(filter)));
        let transform = self.transform(table_id).map(|text| (relation_id, Arc::clone(text)));
        Self { filters: filter.into_iter().collect(), transforms: transform.into_iter().collect() }
    }

    pub(crate) fn has_conditions(&self) -> bool {
        !self.filters.is_empty()
    }

    /// The rules for a table's rows, if there are any.
    pub(crate) fn transform(&self, table_id: u32) -> Option<&Arc<TransformText>> {
        self.transforms.get(&table_id)
    }

    /// What rules need of old rows: the table's oid, a column (empty: any), and whether the identity has to hold it (otherwise
    /// it only must not be of variable length).
    pub(crate) fn needs(&self) -> (Vec<u32>, Vec<&str>, Vec<bool>) {
        let mut needs = (Vec::new(), Vec::new(), Vec::new());
        for (table_id, text) in &self.transforms {
            let mut add = |column, in_key| {
                needs.0.push(*table_id);
                needs.1.push(column);
                needs.2.push(in_key);
            };
            text.needs.in_key.iter().for_each(|column| add(&**column, true));
            text.needs.values.iter().for_each(|column| add(&**column, false));
            if text.needs.all_values || text.needs.old {
                add("", text.needs.old);
            }
        }
        needs
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

/// What it means that a rule does not fit its table, or cannot be evaluated on one of its rows. The row's values are told
/// nobody outside of the source's zone.
pub(crate) fn not_transformed(table: &str, trouble: &RuleTrouble) -> RunError {
    RunError::definite(
        format!("{table}: a rule (`transform`) cannot be applied: {trouble}"),
        "Mend the row at the source (the source-agent's log names its key), or release the task and start it with a rule that \
         every row is fit for, such as one with a condition (`when`) in front.",
    )
}
