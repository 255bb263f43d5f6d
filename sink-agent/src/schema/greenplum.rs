//! What tables have to be like in the Greenplum family, worked into the model before it is rendered.
//!
//! The family refuses (42P16) a key that does not contain the distribution key, and any key of a randomly distributed table; so
//! the keys are made to fit, and each thing that is not as at the source is said. A table is always created with its DISTRIBUTED
//! clause: without one the first column would be taken.

mod keys;

use strait_postgres::{Client, Dialect, Error, KernelVersion, quote};
use strait_proto::v1::{self, ConstraintKind, DistributionKind, ObjectOutcome, ObjectResult};

use keys::{KeyList, index_columns};

/// What a member of the family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    /// The access method `beam`, in a version that it can be used in: AnalyticDB for PostgreSQL. It is the default there.
    pub(super) beam: bool,
}

/// Works what the destination's dialect wants into the model, and says what is not as at the source. PostgreSQL wants nothing.
pub(crate) async fn for_dialect(
    client: &Client,
    model: &mut v1::SchemaModel,
) -> Result<Vec<ObjectResult>, Error> {
    const BEAM: &str = "SELECT EXISTS (SELECT FROM pg_am WHERE amname = 'beam')";
    if client.server().await?.dialect != Dialect::Greenplum {
        return Ok(Vec::new());
    }
    let has_beam: bool = client.query_one(BEAM, &[]).await?.try_get(0)?;
    let is_older = client.kernel_version().await?.is_some_and(|version| version < KernelVersion::BEAM);
    let family = Family { beam: has_beam && !is_older };
    Ok(model.tables.iter_mut().flat_map(|table| remarks(table, family)).collect())
}

fn remarks(table: &mut v1::Table, family: Family) -> Vec<ObjectResult> {
    let details = adapt(table, family);
    if details.is_empty() {
        return Vec::new();
    }
    // One line a table: results are kept by kind and name.
    let remark = ObjectResult::new("distribution", &*table.schema, &*table.name, ObjectOutcome::Skipped);
    vec![remark.because(details.join("; "))]
}

/// Makes one table fit; returns what is not as at the source.
pub(super) fn adapt(table: &mut v1::Table, family: Family) -> Vec<String> {
    let mut remarks = Vec::new();
    // Rows are spread by the source's key even where it cannot be kept.
    let keys = keys_of(table);
    let storage = match &*table.storage {
        "" if family.beam => "beam".to_owned(),
        chosen => chosen.to_owned(),
    };
    leave_out(
        table,
        &mut remarks,
        |kind| kind == ConstraintKind::Exclusion,
        "the family has no exclusion constraints",
    );
    if storage.starts_with("ao_") {
        let is_key = |kind| matches!(kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique);
        index_instead(table, is_key);
        leave_out(
            table,
            &mut remarks,
            is_key,
            "append-optimised tables have no unique keys, it is an index there",
        );
        for index in table.indexes.iter_mut().filter(|index| index.unique) {
            index.unique = false;
            remarks.push(format!(
                "index {} is not unique: append-optimised tables have no unique keys",
                index.name
            ));
        }
    }
    for constraint in &mut table.constraints {
        if constraint.kind() == ConstraintKind::ForeignKey {
            remarks
                .push(format!("foreign key {} stands, and the family does not enforce it", constraint.name));
            // Nothing that its validation could mean.
            if !constraint.definition.ends_with(" NOT VALID") {
                constraint.definition.push_str(" NOT VALID");
            }
        }
    }
    let distributed = distribute(table, &keys, &mut remarks);
    table.dialect_clauses = match &*storage {
        "" => format!(" {distributed}"),
        storage => format!(" USING {} {distributed}", quote::identifier(storage)),
    };
    remarks
}

/// Decides the distribution and fits the keys to it; returns the clause.
fn distribute(table: &mut v1::Table, keys: &[Vec<String>], remarks: &mut Vec<String>) -> String {
    let wanted = table.distribution.clone().unwrap_or_default();
    let columns = match wanted.kind() {
        DistributionKind::Replicated => return "DISTRIBUTED REPLICATED".to_owned(),
        DistributionKind::Hash if has_columns(table, &wanted.columns) => wanted.columns,
        DistributionKind::Hash => {
            remarks
                .push(format!("its distribution key ({}) names no columns of it", wanted.columns.join(", ")));
            common_columns(keys)
        }
        DistributionKind::Random if !keys.is_empty() => {
            remarks
                .push("a table with a key cannot be distributed randomly: distributed by its key".to_owned());
            common_columns(keys)
        }
        DistributionKind::Random | DistributionKind::Unspecified => common_columns(keys),
    };
    if columns.is_empty() {
        return "DISTRIBUTED RANDOMLY".to_owned();
    }
    fit_keys(table, &columns, remarks);
    give_primary_key(table, &columns, remarks);
    let list: Vec<String> = columns.iter().map(|column| quote::identifier(column)).collect();
    format!("DISTRIBUTED BY ({})", list.join(", "))
}

fn has_columns(table: &v1::Table, names: &[String]) -> bool {
    !names.is_empty() && names.iter().all(|name| table.columns.iter().any(|column| column.name == *name))
}

/// The columns of every key, the primary key's first.
fn keys_of(table: &v1::Table) -> Vec<Vec<String>> {
    let of_kind = |kind| {
        let keys = table.constraints.iter().filter(move |constraint| constraint.kind() == kind);
        keys.filter_map(|constraint| Some(KeyList::parse(&constraint.definition)?.columns))
    };
    let indexes = table.indexes.iter().filter(|index| index.unique);
    let indexes = indexes.filter_map(|index| index_columns(&index.definition_tail));
    of_kind(ConstraintKind::PrimaryKey).chain(of_kind(ConstraintKind::Unique)).chain(indexes).collect()
}

/// What all keys share, in the order of the first one; where they share nothing, the first one.
fn common_columns(keys: &[Vec<String>]) -> Vec<String> {
    let Some(first) = keys.first() else { return Vec::new() };
    let common: Vec<String> =
        first.iter().filter(|column| keys.iter().all(|key| key.contains(column))).cloned().collect();
    if common.is_empty() { first.clone() } else { common }
}

/// A key that lacks columns of the distribution key gets them, which makes it weaker than at the source.
fn fit_keys(table: &mut v1::Table, distribution: &[String], remarks: &mut Vec<String>) {
    for constraint in &mut table.constraints {
        if !matches!(constraint.kind(), ConstraintKind::PrimaryKey | ConstraintKind::Unique) {
            continue;
        }
        let Some(mut key) = KeyList::parse(&constraint.definition) else { continue };
        if key.extend(distribution) {
            let is_primary = constraint.kind() == ConstraintKind::PrimaryKey;
            let nullable = |column: &v1::Column| !column.not_null && distribution.contains(&column.name);
            let no_null = if is_primary && table.columns.iter().any(nullable) {
                ", none of which may be NULL"
            } else {
                ""
            };
            remarks.push(format!(
                "constraint {} is widened by the distribution key: ({}){no_null}",
                constraint.name,
                key.columns.join(", ")
            ));
            constraint.definition = key.definition();
        }
    }
    for index in table.indexes.iter_mut().filter(|index| index.unique) {
        let columns = index_columns(&index.definition_tail).unwrap_or_default();
        if !distribution.iter().all(|column| columns.contains(column)) {
            index.unique = false;
            remarks.push(format!(
                "index {} is not unique: it does not contain the distribution key",
                index.name
            ));
        }
    }
}

/// A table without a primary key gets its distribution key as one, where that is known to be unique and never NULL.
fn give_primary_key(table: &mut v1::Table, distribution: &[String], remarks: &mut Vec<String>) {
    if table.constraints.iter().any(|constraint| constraint.kind() == ConstraintKind::PrimaryKey) {
        return;
    }
    let not_null = |name: &String| table.columns.iter().any(|column| column.name == *name && column.not_null);
    let is_never_null = distribution.iter().all(not_null);
    let is_distribution = |columns: &[String]| {
        columns.len() == distribution.len() && distribution.iter().all(|column| columns.contains(column))
    };
    let unique =
        table.constraints.iter_mut().filter(|it| it.kind() == ConstraintKind::Unique && !it.deferrable);
    for constraint in unique {
        let Some(key) = KeyList::parse(&constraint.definition) else { continue };
        if is_never_null && is_distribution(&key.columns) {
            constraint.set_kind(ConstraintKind::PrimaryKey);
            constraint.definition = key.as_primary_key();
            return;
        }
    }
    remarks.push(format!(
        "no primary key: the distribution key ({}) is not known to be unique and never NULL",
        distribution.join(", ")
    ));
}

/// Rows are still found by what is no key.
fn index_instead(table: &mut v1::Table, is_key: impl Fn(ConstraintKind) -> bool) {
    for constraint in table.constraints.iter().filter(|constraint| is_key(constraint.kind())) {
        let Some(key) = KeyList::parse(&constraint.definition) else { continue };
        table.indexes.push(v1::Index {
            name: constraint.name.clone(),
            definition_tail: format!("USING btree {}", key.column_list()),
            ..Default::default()
        });
    }
}

fn leave_out(
    table: &mut v1::Table,
    remarks: &mut Vec<String>,
    is_out: impl Fn(ConstraintKind) -> bool,
    reason: &str,
) {
    for constraint in table.constraints.extract_if(.., |constraint| is_out(constraint.kind())) {
        remarks.push(format!("constraint {} is left out: {reason}", constraint.name));
    }
}

#[cfg(test)]
mod tests;
