//! What a table gets once its rows are there.

use std::slice;

use strait_postgres::{Client, Error};
use strait_proto::v1;

use super::Results;
use super::comments;
use super::ddl::tables;
use super::execute::{Action, Attempt, Executor, Object};
use super::existing::OfTable;
use super::partitions;

/// All of it, one after the other.
pub(crate) async fn finish_table(
    client: &Client,
    model: &v1::SchemaModel,
    table: &v1::Table,
    results: &Results,
) -> Result<(), Error> {
    for index in add_constraints(client, table, results).await? {
        create_index(client, table, index, results).await?;
    }
    complete_table(client, model, table, results).await
}

/// Adds the primary key, unique and exclusion constraints, then check constraints. Returns the indexes that are missing.
///
/// Keys come first because the changes that follow are applied by them, and one by one because each locks the table. A
/// constraint that the server refuses is reported and the others are built: only what may pass is an error.
pub(crate) async fn add_constraints<'a>(
    client: &Client,
    table: &'a v1::Table,
    results: &Results,
) -> Result<Vec<&'a v1::Index>, Error> {
    let executor = Executor { client, results };
    let existing = OfTable::read(client, &table.schema, &table.name).await?;
    add_keys(&executor, table, &existing).await?;
    add_checks(&executor, table, &existing).await?;
    let (standing, missing): (Vec<_>, Vec<_>) =
        table.indexes.iter().partition(|index| existing.indexes.contains(&index.name));
    for index in standing {
        executor.existed(object("index", table, &index.name)).await;
    }
    Ok(missing)
}

/// Several of one table may be created at once. One that the server refuses is reported and no error.
pub(crate) async fn create_index(
    client: &Client,
    table: &v1::Table,
    index: &v1::Index,
    results: &Results,
) -> Result<(), Error> {
    let executor = Executor { client, results };
    executor.create(object("index", table, &index.name), &tables::create_index(table, index)).await?;
    Ok(())
}

/// Attaches the indexes of a partition to those of its table, and writes the comments of the table and all that belongs to it.
pub(crate) async fn complete_table(
    client: &Client,
    model: &v1::SchemaModel,
    table: &v1::Table,
    results: &Results,
) -> Result<(), Error> {
    let executor = Executor { client, results };
    partitions::attach_indexes(&executor, model, table).await?;
    comments::write(&executor, &comments::of_table(model, table)).await
}

async fn add_keys(executor: &Executor<'_>, table: &v1::Table, existing: &OfTable) -> Result<(), Error> {
    for kind in [v1::ConstraintKind::PrimaryKey, v1::ConstraintKind::Unique, v1::ConstraintKind::Exclusion] {
        for constraint in table.constraints.iter().filter(|it| it.kind() == kind) {
            let object = object("constraint", table, &constraint.name);
            if existing.constraints.contains(&constraint.name) {
                executor.existed(object).await;
            } else {
                let action = tables::add_constraint(constraint);
                let mut sql = tables::alter(table, false, slice::from_ref(&action));
                if constraint.clustered {
                    sql.push_str(&format!(";\n{}", tables::cluster_on(table, &constraint.name)));
                }
                executor.create(object, &sql).await?;
            }
        }
    }
    Ok(())
}

/// All in one statement, which reads the table once. Children of inheritance get them too, as at the source.
async fn add_checks(executor: &Executor<'_>, table: &v1::Table, existing: &OfTable) -> Result<(), Error> {
    let mut actions = Vec::new();
    for constraint in table.constraints.iter().filter(|it| it.kind() == v1::ConstraintKind::Check) {
        let object = object("constraint", table, &constraint.name);
        if existing.constraints.contains(&constraint.name) {
            executor.existed(object).await;
        } else {
            actions.push(Action { object, sql: tables::add_constraint(constraint) });
        }
    }
    let statement = |actions: &[String]| tables::alter(table, true, actions);
    let attempts = executor.attempt_together(&actions, statement).await?;
    for (action, attempt) in actions.into_iter().zip(attempts) {
        match attempt {
            Attempt::Done => executor.created(action.object).await,
            Attempt::Refused(refusal) => {
                executor.fail(action.object, refusal.message, &statement(&[action.sql])).await
            }
        }
    }
    Ok(())
}

fn object(kind: &'static str, table: &v1::Table, name: &str) -> Object {
    Object::new(kind, &table.schema, format!("{}.{name}", table.name))
}
