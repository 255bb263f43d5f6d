//! Where the source's objects go at the destination: schemas, tables and columns under other names, columns left out, keys and
//! types of the destination's own.
//!
//! ```text
//!  task ──► Mapping: rules by name ──► Mapped: one schema model at the destination, and per table_id a TableMap
//!                                         │ model ─► the sink's DDL       │ TableMap ─► copy, change stream, bounds
//! ```
//!
//! Rules and a source model in, a destination model out. At the source everything is kept by `table_id` and the source's
//! names; the sink is sent the destination's names alone, and no value of a column that is left out. Nothing of it is
//! remembered: the same task and the same catalog give the same answer.

mod check;
mod columns;
mod distribution;
mod expression;
mod inputs;
mod lexer;
mod lineage;
mod merge;
mod model;
mod names;
mod objects;
mod projection;
mod types;

use strait_postgres::catalog::{covers, laid_over, options_of};
use strait_proto::v1::{self, NameCase, TableName};

use crate::transform::{Needs, Program, TransformText};

pub(crate) use check::check;
pub(crate) use columns::ColumnMap;
pub(crate) use distribution::check_distribution;
pub(crate) use inputs::inputs;
use lineage::Lineage;
pub(crate) use model::Mapped;
pub(crate) use names::{ExtensionMembers, TableMap};
pub(crate) use projection::Projection;

/// The rules of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Mapping {
    selection: v1::ObjectSelection,
    case: NameCase,
    /// The destination may have the tables already, with their columns in an order of their own.
    tables_may_exist: bool,
    lineage: Lineage,
}

impl Mapping {
    pub(crate) fn new(spec: Option<&v1::TaskSpec>) -> Self {
        let selection = spec.and_then(|spec| spec.objects.clone()).unwrap_or_default();
        Self {
            selection,
            case: spec.map_or(NameCase::Unspecified, v1::TaskSpec::name_case),
            tables_may_exist: spec.is_some_and(|spec| spec.existing_tables() == v1::ExistingTables::Proceed),
            lineage: Lineage::default(),
        }
    }

    /// Takes over which partitions belong to which tables, before anything is asked about those.
    pub(crate) fn learn(&self, model: &v1::SchemaModel) {
        self.lineage.learn(model);
    }

    /// Whether every name and column stays as it is.
    pub(crate) fn is_identity(&self) -> bool {
        let says_nothing = |options: &v1::TableOptions| {
            options.rename.is_none()
                && options.columns.is_empty()
                && options.primary_key.is_empty()
                && options.column_types.is_empty()
                && !options.merge
        };
        matches!(self.case, NameCase::Unspecified | NameCase::Source)
            && self.selection.include.iter().filter_map(|it| it.options.as_ref()).all(says_nothing)
    }

    /// A name that nothing renames.
    fn cased(&self, name: &str) -> String {
        columns::cased(name, self.case)
    }

    /// Where what is no table goes: only an include of a whole schema renames that.
    fn schema(&self, source: &str) -> String {
        let whole = v1::ObjectSelection {
            include: self.selection.include.iter().filter(|it| it.table.is_empty()).cloned().collect(),
            ..Default::default()
        };
        let renamed = options_of(&whole, source, "").rename.map(|rename| rename.schema);
        renamed.filter(|schema| !schema.is_empty()).unwrap_or_else(|| self.cased(source))
    }

    /// What the task says about a table: an entry of its own, before those of the tables that it is a partition of, before its
    /// whole schema's.
    pub(crate) fn options(&self, table: &TableName) -> v1::TableOptions {
        match self.lineage.parent_of(table) {
            None => options_of(&self.selection, &table.schema, &table.name),
            Some(parent) => self.options_within(table, &parent),
        }
    }

    /// What the task says about a partition of `parent`.
    fn options_within(&self, table: &TableName, parent: &TableName) -> v1::TableOptions {
        let mut above = self.options(parent);
        if let Some(rename) = &mut above.rename {
            rename.table.clear();
            if table.schema != parent.schema {
                rename.schema.clear();
            }
        }
        let of_tables = self.selection.include.iter().filter(|it| !it.table.is_empty()).cloned();
        let selection = v1::ObjectSelection { include: of_tables.collect(), ..Default::default() };
        laid_over(above, &options_of(&selection, &table.schema, &table.name))
    }

    /// Whether the task takes a partition of `parent`, and says the same about it, once it is none any more.
    pub(crate) fn stands_alone_alike(&self, table: &TableName, parent: &TableName) -> bool {
        let mut alone = options_of(&self.selection, &table.schema, &table.name);
        let mut within = self.options_within(table, parent);
        for options in [&mut alone, &mut within] {
            // It keeps the name that it has.
            let columns = std::mem::take(&mut options.rename).unwrap_or_default().columns;
            options.rename = Some(v1::Rename { columns, ..Default::default() });
        }
        alone == within && covers(&self.selection, &table.schema, &table.name)
    }

    /// The destination's name of a table. A partition whose name begins with its table's follows where that one is renamed.
    pub(crate) fn target(&self, table: &TableName) -> TableName {
        let rename = self.options(table).rename.unwrap_or_default();
        let or = |renamed: String, otherwise: String| if renamed.is_empty() { otherwise } else { renamed };
        let schema = or(rename.schema, self.schema(&table.schema));
        TableName::new(schema, or(rename.table, self.following(table)))
    }

    fn following(&self, partition: &TableName) -> String {
        let follow = |parent: TableName| {
            let rest = partition.name.strip_prefix(&*parent.name)?;
            let target = self.target(&parent).name;
            (target != self.cased(&parent.name)).then(|| format!("{target}{}", self.cased(rest)))
        };
        let parent = self.lineage.parent_of(partition);
        parent.and_then(follow).unwrap_or_else(|| self.cased(&partition.name))
    }

    /// The name by which the rules of a table are found that has begun as `begun` at the destination: its own, unless it was
    /// renamed at the source since. Then it is the include's that leads there.
    fn rules_name(&self, table: &TableName, begun: Option<&TableName>) -> TableName {
        let Some(begun) = begun.filter(|begun| self.target(table) != **begun) else {
            return table.clone();
        };
        let exact = self.selection.include.iter().filter(|it| !it.table.is_empty());
        let mut names = exact.map(|it| TableName::new(&*it.schema, &*it.table));
        names.find(|name| self.target(name) == *begun).unwrap_or_else(|| table.clone())
    }

    /// What becomes of the columns of a table.
    pub(crate) fn column_map(&self, table: &TableName) -> ColumnMap {
        let options = self.options(table);
        let set = options.transform.iter().flat_map(|rule| rule.set.keys()).cloned().collect();
        ColumnMap::new(options.columns, options.rename.unwrap_or_default().columns, self.case).with_set(set)
    }

    /// The rules for the rows of a table (`transform`) that the options of `rules` apply to.
    pub(crate) fn transform(&self, rules: &TableName, table: &v1::Table) -> Option<TransformText> {
        let options = self.options(rules);
        let columns = self.column_map(rules);
        let type_of = |column: &str| options.column_types.get(&columns.target(column)?).cloned();
        let mut text = TransformText::of(&table.table_name(), &options.transform, type_of)?;
        let inputs = inputs(table, &columns);
        text.needs = match Program::compile(&text, &inputs) {
            Ok(program) => program.needs,
            // The precheck says so; until it is mended, everything may be needed.
            Err(_) => Needs { all_values: true, old: true, ..Needs::default() },
        };
        text.key = inputs.into_iter().filter(|input| input.key).map(|input| input.name).collect();
        Some(text)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
