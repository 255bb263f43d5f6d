//! Views, routines, rules, triggers and the rest, for the destination's names.
//!
//! What PostgreSQL prints out of parse trees is followed exactly, bodies that are texts where every name in them says what it is.
//! What is not followed is not created, and neither is what needs it: under its old names it might find something else. Each such
//! object is skipped with its own reason and the source's statement.

mod known;
mod query;
mod routine;
mod statement;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use strait_proto::v1;

use super::ColumnMap;
use super::expression::{Mentions, Refusal};
use super::names::{Name, Names, TableMap};
use known::{Known, is_view, significant};
use query::Followed;

/// The objects at the destination, and those that are not followed.
#[derive(Default)]
pub(super) struct Objects {
    pub(super) objects: Vec<v1::SchemaObject>,
    pub(super) comments: Vec<v1::Comment>,
    pub(super) skipped: Vec<v1::ObjectResult>,
}

/// `merged`: tables whose rows lie beside those of others. `by_name`: the destination may have the tables already, with their
/// columns in another order.
pub(super) fn follow(
    source: &v1::SchemaModel,
    names: &Names,
    tables: &HashMap<u32, TableMap>,
    merged: &BTreeSet<Name>,
    by_name: bool,
) -> Objects {
    let known = Known::new(names, source, tables, by_name);
    let by_source: BTreeMap<Name, &TableMap> =
        tables.values().map(|map| ((map.source.schema.clone(), map.source.name.clone()), map)).collect();
    let columns = |name: &Name| match by_source.get(name) {
        Some(map) => map.columns.clone(),
        None => names.all_columns(),
    };
    let mut results: Vec<Result<Followed, Refusal>> =
        source.objects.iter().map(|object| follow_one(object, &known, tables, &columns)).collect();
    refuse_what_is_about_merged(source, merged, &mut results);
    refuse_what_needs_refused(source, &known, &mut results);
    let mut objects = Objects::default();
    let mut refused_views = BTreeSet::new();
    for (object, result) in source.objects.iter().zip(results) {
        match result {
            Ok(followed) => objects.objects.push(renamed(object, &known, followed.text)),
            Err(refusal) => {
                refused_views.extend(is_view(object).then(|| (object.schema.clone(), object.name.clone())));
                objects.skipped.extend((!object.placeholder).then(|| not_followed(object, &refusal)));
            }
        }
    }
    let of_carried = |comment: &&v1::Comment| {
        let name = (comment.schema.clone(), comment.name.clone());
        !refused_views.contains(&name) && !merged.contains(&name)
    };
    objects.comments =
        source.comments.iter().filter(of_carried).filter_map(|it| comment(it, &known)).collect();
    objects
}

fn follow_one(
    object: &v1::SchemaObject,
    known: &Known<'_>,
    tables: &HashMap<u32, TableMap>,
    columns: &dyn Fn(&Name) -> ColumnMap,
) -> Result<Followed, Refusal> {
    for used in &object.column_uses {
        let Some(map) = tables.get(&used.relation_id) else { continue };
        if map.columns.target(&used.column).is_none() {
            return Err(Refusal::LeftOut(format!("{} of {}", used.column, map.source)));
        }
    }
    statement::follow(object, known, columns)
}

/// What reads one table, or belongs to it, would meet the rows of all that are merged with it.
fn refuse_what_is_about_merged(
    source: &v1::SchemaModel,
    merged: &BTreeSet<Name>,
    results: &mut [Result<Followed, Refusal>],
) {
    for (object, result) in source.objects.iter().zip(results.iter_mut()) {
        let Ok(followed) = &*result else { continue };
        let relation = object.relation.as_ref().map(|it| (it.schema.clone(), it.name.clone()));
        let mentioned = followed.mentions.iter().filter(|(called, _)| !called).map(|(_, name)| name);
        if let Some((schema, name)) = mentioned.chain(&relation).find(|name| merged.contains(*name)) {
            let reason = format!(
                "it is about {schema}.{name} alone, whose rows lie in one table with those of others"
            );
            *result = Err(Refusal::because(reason));
        }
    }
}

/// What mentions something that is not followed is not followed either.
fn refuse_what_needs_refused(
    source: &v1::SchemaModel,
    known: &Known<'_>,
    results: &mut [Result<Followed, Refusal>],
) {
    let identity = |object: &v1::SchemaObject| -> (bool, Name) {
        let called = matches!(&*object.object_kind, "function" | "procedure" | "aggregate");
        let name = if called { routine_name(object).unwrap_or_default() } else { object.name.clone() };
        (called, (object.schema.clone(), name))
    };
    loop {
        // Of routines of one name it is not known which is meant: one that stands is enough.
        let mut stand = Mentions::new();
        let mut refused = Mentions::new();
        for (object, result) in source.objects.iter().zip(&*results) {
            let names = if result.is_ok() { &mut stand } else { &mut refused };
            names.insert(identity(object));
        }
        refused.retain(|name| !name.0 || !stand.contains(name));
        let mut more = false;
        for (object, result) in source.objects.iter().zip(results.iter_mut()) {
            let Ok(followed) = &*result else { continue };
            let relation = object.relation.as_ref().map(|it| (false, (it.schema.clone(), it.name.clone())));
            let mut needs = followed.mentions.iter().chain(&relation);
            let own = identity(object);
            // In other statements than queries functions are named without being called.
            let is_refused = |it: &&(bool, Name)| {
                **it != own && (refused.contains(*it) || refused.contains(&(true, it.1.clone())))
            };
            let lacking = followed.mentions.iter().find(|(called, name)| {
                let rows = known.routines.get(name).into_iter().flatten();
                *called && !known.names.schema(&name.0).is_empty() && rows_lack_columns(known, rows)
            });
            if let Some((_, name)) = needs.find(is_refused) {
                *result =
                    Err(Refusal::because(format!("it needs {}.{}, which is not followed", name.0, name.1)));
                more = true;
            } else if let Some((_, name)) = lacking.filter(|_| is_view(object)) {
                *result = Err(Refusal::because(format!(
                    "it calls {}.{}, whose rows have columns that the task leaves out",
                    name.0, name.1
                )));
                more = true;
            }
        }
        if !more {
            return;
        }
    }
}

fn rows_lack_columns<'a>(known: &Known<'_>, mut rows: impl Iterator<Item = &'a Name>) -> bool {
    rows.any(|name| known.relation(name).is_some_and(|relation| relation.lacks_columns()))
}

/// The object under the destination's names.
fn renamed(object: &v1::SchemaObject, known: &Known<'_>, statements: String) -> v1::SchemaObject {
    let relation = object.relation.as_ref().map(|it| {
        let name = (it.schema.clone(), it.name.clone());
        known.relation(&name).map_or_else(|| known.names.object(&name.0, &name.1), |it| it.target.clone())
    });
    let own = (object.schema.clone(), object.name.clone());
    let text = |text: &str| match super::expression::rewrite(text, known.names, None) {
        Ok(text) => text,
        Err(_) => text.to_owned(),
    };
    let (schema, name) = match (&*object.object_kind, &relation) {
        ("view" | "materialized view", _) => known.names.object(&own.0, &own.1),
        ("statistics object", _) => (known.names.schema(&own.0), own.1),
        (kind, Some(target)) => {
            let source = object.relation.as_ref().map(|it| it.name.clone()).unwrap_or_default();
            let part = own.1.strip_prefix(&source).unwrap_or_default();
            let cased = part.strip_prefix('.').filter(|_| kind == "index");
            let part = cased.map_or_else(|| part.to_owned(), |it| format!(".{}", known.names.cased(it)));
            (target.0.clone(), format!("{}{part}", target.1))
        }
        ("function" | "procedure" | "aggregate", _) => {
            let name = routine_name(object).unwrap_or_default();
            let arguments = own.1.strip_prefix(&name).unwrap_or_default();
            (known.names.schema(&own.0), format!("{name}{}", text(arguments)))
        }
        ("cast", _) => (own.0, text(&own.1)),
        ("operator", _) => {
            let (operator, operands) = own.1.split_at(own.1.find('(').unwrap_or(own.1.len()));
            (known.names.schema(&own.0), format!("{operator}{}", text(operands)))
        }
        _ => (known.names.schema(&own.0), own.1),
    };
    let relation = relation.map(|(schema, name)| v1::TableName::new(schema, name));
    let note = text(&object.note);
    let column_uses = Vec::new();
    v1::SchemaObject { schema, name, relation, note, statements, column_uses, ..object.clone() }
}

/// The name of a routine without its arguments.
fn routine_name(object: &v1::SchemaObject) -> Option<String> {
    let tokens = significant(&object.statements);
    tokens.windows(3).find(|it| it[0].is_identifier() && it[1].is(".")).map(|it| it[2].name())
}

/// A comment on what the model has besides its objects; None where a column is left out.
fn comment(source: &v1::Comment, known: &Known<'_>) -> Option<v1::Comment> {
    if source.object_kind == "schema" {
        return Some(v1::Comment { name: known.names.schema(&source.name), ..source.clone() });
    }
    let name = (source.schema.clone(), source.name.clone());
    let relation = known.relation(&name);
    let (schema, name) =
        relation.map_or_else(|| known.names.object(&name.0, &name.1), |it| it.target.clone());
    let part = match (&*source.object_kind, relation) {
        (_, _) if source.part.is_empty() => String::new(),
        ("column", Some(relation)) => relation.column(&source.part)?.clone()?,
        ("column", None) => source.part.clone(),
        _ => known.names.cased(&source.part),
    };
    Some(v1::Comment { schema, name, part, ..source.clone() })
}

fn not_followed(object: &v1::SchemaObject, refusal: &Refusal) -> v1::ObjectResult {
    let (kind, schema, name) = (&*object.object_kind, &*object.schema, &*object.name);
    let result = v1::ObjectResult::new(kind, schema, name, v1::ObjectOutcome::Skipped);
    let reason = format!("does not follow the task's names and columns: {refusal}");
    v1::ObjectResult { statement: object.statements.clone(), ..result.because(reason) }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
