//! How the Greenplum family is to spread and store a table: as the source does, or as the task says.

use std::collections::BTreeSet;

use strait_proto::v1::{self, ConstraintKind, PrecheckItem};

use super::Mapping;
use super::check::Problems;
use super::expression::key_columns;
use super::model::Mapped;
use super::names::TableMap;
use crate::precheck::item::{failed, list, passed, statements, warning};

/// Works both into a table of the destination's model, which has the source's.
pub(super) fn distribute(table: &mut v1::Table, map: &TableMap, options: v1::TableOptions) {
    if let Some(distribution) = &mut table.distribution {
        let carried = distribution.columns.iter().map(|column| map.columns.target(column)).collect();
        match carried {
            Some(columns) => distribution.columns = columns,
            // A column of it is left out: the destination chooses.
            None => table.distribution = None,
        }
    }
    if !options.distribution_key.is_empty() {
        let kind = v1::DistributionKind::Hash.into();
        table.distribution = Some(v1::Distribution { kind, columns: options.distribution_key });
    }
    if !options.storage.is_empty() {
        table.storage = options.storage;
    }
}

/// A precheck item, where the task says anything of it.
pub(crate) fn check_distribution(
    mapping: &Mapping,
    source: &v1::SchemaModel,
    mapped: &Mapped,
) -> Option<PrecheckItem> {
    const NAME: &str = "source.distribution_key";
    let mut problems = Problems::default();
    let mut widened = Vec::new();
    let mut count = 0;
    for table in &source.tables {
        let Some(map) = mapped.table(table.table_id) else { continue };
        let options = mapping.options(&map.source);
        if options.storage.starts_with("ao_") && !options.primary_key.is_empty() {
            problems.add(
                format!(
                    "{} is to have a primary key and storage {}, which has no keys",
                    map.target, options.storage
                ),
                "Take `primary_key` out of the entry, or choose heap or beam as its `storage`.",
            );
        }
        let key = &options.distribution_key;
        if key.is_empty() {
            continue;
        }
        count += 1;
        let own = table.columns.iter().map(|column| &column.name);
        let added = map.added.iter().map(|added| &added.name);
        let known: BTreeSet<String> = own.chain(added).filter_map(|name| map.columns.target(name)).collect();
        let unknown: Vec<&String> = key.iter().filter(|column| !known.contains(*column)).collect();
        if !unknown.is_empty() {
            problems.add(
                format!("{} has no column {} at the destination", map.target, list(unknown)),
                "Correct `distribution_key`: names are the destination's.",
            );
            continue;
        }
        let chosen = !options.primary_key.is_empty();
        let primary = if chosen { options.primary_key } else { primary_key(table, map) };
        let outside: Vec<&String> = key.iter().filter(|column| !primary.contains(column)).collect();
        if outside.is_empty() || (primary.is_empty() && !chosen) || options.storage.starts_with("ao_") {
            continue;
        }
        let cause = format!(
            "{} of the distribution key of {} is not part of its primary key",
            list(outside),
            map.target
        );
        if chosen {
            problems.add(
                format!("{cause} ({})", list(&primary)),
                "Take the columns of `distribution_key` from `primary_key`, or add them to it.",
            );
        } else {
            widened.push(format!("{cause} ({})", list(&primary)));
        }
    }
    if !problems.causes.is_empty() {
        let remedy = statements(problems.remedies);
        return Some(failed(
            NAME,
            format!("{} problems", problems.causes.len()),
            list(problems.causes),
            remedy,
        ));
    }
    if !widened.is_empty() {
        return Some(warning(
            NAME,
            list(widened),
            "the family wants every key to contain the distribution key: these keys are widened by it, and keep the source's \
             columns unique no more; rows are found without an index of their own then",
            "Nothing, if that is meant; otherwise take the columns of `distribution_key` from the primary key.",
        ));
    }
    (count > 0).then(|| passed(NAME, format!("{count} distribution keys name columns of their tables")))
}

/// The columns of the source's primary key, by the destination's names.
fn primary_key(table: &v1::Table, map: &TableMap) -> Vec<String> {
    let constraint = table.constraints.iter().find(|it| it.kind() == ConstraintKind::PrimaryKey);
    let columns = constraint.map(|it| key_columns(&it.definition)).unwrap_or_default();
    columns.iter().filter_map(|column| map.columns.target(column)).collect()
}
