//! Comments on what is no statement of its own. A failed one is told, one that is written is not worth a line.

use std::collections::HashSet;

use strait_postgres::Error;
use strait_proto::v1::{self, SchemaStage};

use super::ddl;
use super::execute::{Attempt, Executor, Object};

/// So many are written with one request.
const AT_ONCE: usize = 100;

/// Those on what stands before the data.
pub(super) fn before_data(model: &v1::SchemaModel) -> Vec<&v1::Comment> {
    let later = stands_after_data(model);
    let now = |comment: &&v1::Comment| !is_of_finished_table(comment) && !later.contains(&relation(comment));
    model.comments.iter().filter(now).collect()
}

/// Those on the columns of views that stand after the data.
pub(super) fn after_data(model: &v1::SchemaModel) -> Vec<&v1::Comment> {
    let later = stands_after_data(model);
    model.comments.iter().filter(|comment| later.contains(&relation(comment))).collect()
}

/// Those on the keys, checks and indexes of a table.
pub(super) fn of_table<'a>(model: &'a v1::SchemaModel, table: &v1::Table) -> Vec<&'a v1::Comment> {
    let built = |comment: &&v1::Comment| {
        let mut constraints = table.constraints.iter();
        relation(comment) == (&*table.schema, &*table.name)
            && match &*comment.object_kind {
                "index" => true,
                "constraint" => constraints
                    .any(|it| it.name == comment.part && it.kind() != v1::ConstraintKind::ForeignKey),
                _ => false,
            }
    };
    model.comments.iter().filter(built).collect()
}

/// The one on a constraint of a table, as a statement.
pub(super) fn of_constraint(model: &v1::SchemaModel, table: &v1::Table, name: &str) -> Option<String> {
    let mut comments = model.comments.iter();
    let comment = comments.find(|comment| {
        comment.object_kind == "constraint"
            && relation(comment) == (&*table.schema, &*table.name)
            && comment.part == name
    });
    comment.map(ddl::comments::create)
}

/// Writes comments, many at once; where that is refused, one by one.
pub(super) async fn write(executor: &Executor<'_>, comments: &[&v1::Comment]) -> Result<(), Error> {
    for some in comments.chunks(AT_ONCE) {
        let statements: Vec<String> = some.iter().map(|comment| ddl::comments::create(comment)).collect();
        if let Attempt::Refused(_) = executor.attempt(&statements.join(";\n")).await? {
            for (comment, sql) in some.iter().zip(&statements) {
                executor.complete(object(comment), sql).await?;
            }
        }
    }
    Ok(())
}

fn object(comment: &v1::Comment) -> Object {
    let part = if comment.part.is_empty() { String::new() } else { format!(".{}", comment.part) };
    Object::new("comment", &comment.schema, format!("{}{part}", comment.name))
}

fn relation(comment: &v1::Comment) -> (&str, &str) {
    (&comment.schema, &comment.name)
}

fn is_of_finished_table(comment: &v1::Comment) -> bool {
    matches!(&*comment.object_kind, "index" | "constraint")
}

fn stands_after_data(model: &v1::SchemaModel) -> HashSet<(&str, &str)> {
    let views = model.objects.iter().filter(|it| matches!(&*it.object_kind, "view" | "materialized view"));
    // A placeholder stands before, and has the same columns.
    let before: HashSet<(&str, &str)> = views
        .clone()
        .filter(|it| it.stage() == SchemaStage::BeforeData)
        .map(|it| (&*it.schema, &*it.name))
        .collect();
    views.map(|it| (&*it.schema, &*it.name)).filter(|name| !before.contains(name)).collect()
}
