//! The statements of one object, each kind by its own grammar.

use strait_postgres::quote;
use strait_proto::v1;

use super::super::ColumnMap;
use super::super::expression::{Mentions, Refusal, Scope, rewrite_noting};
use super::super::lexer::{Kind, Token, tokens};
use super::super::names::Name;
use super::known::{Known, Relation};
use super::query::{self, Followed, Surroundings};
use super::routine;

/// Rewrites what creates an object, with its settings and its comment.
pub(super) fn follow(
    object: &v1::SchemaObject,
    known: &Known<'_>,
    columns: &dyn Fn(&Name) -> ColumnMap,
) -> Result<Followed, Refusal> {
    let mut written = Vec::new();
    let mut mentions = Mentions::new();
    for (place, statement) in statements(&object.statements, &object.object_kind).iter().enumerate() {
        let followed = if place == 0 {
            creation(object, statement, known, columns)?
        } else {
            settings(object, statement, known)?
        };
        written.push(followed.text);
        mentions.extend(followed.mentions);
    }
    Ok(Followed { text: written.join(";"), mentions })
}

/// Splits at the semicolons that are in no parentheses, and in no body.
fn statements<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let has_body = matches!(kind, "function" | "procedure");
    let mut parts = Vec::new();
    let (mut start, mut at, mut depth) = (0, 0, 0);
    for token in tokens(text) {
        depth += i32::from(token.is("(")) - i32::from(token.is(")"));
        let rest = &text[at + token.text.len()..];
        if token.is(";") && depth == 0 && (!has_body || rest.starts_with("\nCOMMENT ON ")) {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        at += token.text.len();
    }
    parts.push(&text[start..]);
    parts
}

fn creation(
    object: &v1::SchemaObject,
    statement: &str,
    known: &Known<'_>,
    columns: &dyn Fn(&Name) -> ColumnMap,
) -> Result<Followed, Refusal> {
    let relation = object.relation.as_ref().map(|it| (it.schema.clone(), it.name.clone()));
    let of_relation = |text: &str, to: &str| scoped(text, known, relation.as_ref(), columns, to);
    match &*object.object_kind {
        "view" | "materialized view" => view(object, statement, known),
        "function" | "procedure" => routine::follow(statement, known),
        "rule" | "trigger" => event(object, statement, known),
        "policy" => of_relation(statement, "USING"),
        "statistics object" => of_relation(statement, "ON"),
        "index" => of_relation(&index(object, statement, known), "USING"),
        _ => plain(statement, known),
    }
}

fn plain(text: &str, known: &Known<'_>) -> Result<Followed, Refusal> {
    let (text, mentions) = rewrite_noting(text, known.names, None)?;
    Ok(Followed { text, mentions })
}

/// `ALTER … ALTER COLUMN c SET …`, `COMMENT ON …`.
fn settings(object: &v1::SchemaObject, statement: &str, known: &Known<'_>) -> Result<Followed, Refusal> {
    let own = known.relation(&(object.schema.clone(), object.name.clone()));
    let mut tokens = tokens(statement);
    let place = tokens.iter().position(|it| it.is("COLUMN")).map(|place| place + 2);
    let column = place.and_then(|place| tokens.get(place)).filter(|it| it.is_identifier()).map(Token::name);
    let target = column.and_then(|column| own?.column(&column)?.clone()).map(|it| quote::identifier(&it));
    let index = index_name(object)
        .map(|name| (quote::identifier(&name), quote::identifier(&known.names.cased(&name))));
    if let (Some(place), Some(target)) = (place, &target) {
        tokens[place].text = target;
    } else if let (Some((_, target)), Some(last)) = (&index, tokens.last_mut())
        && statement.contains(" CLUSTER ON ")
    {
        last.text = target;
    }
    plain(&tokens.iter().map(|it| it.text).collect::<String>(), known)
}

/// The name of an index by itself.
fn index_name(object: &v1::SchemaObject) -> Option<String> {
    let relation = object.relation.as_ref().filter(|_| object.object_kind == "index")?;
    object.name.strip_prefix(&format!("{}.", relation.name)).map(str::to_owned)
}

/// `CREATE INDEX name ON …` with the destination's name.
fn index(object: &v1::SchemaObject, statement: &str, known: &Known<'_>) -> String {
    let Some(name) = index_name(object) else { return statement.to_owned() };
    let target = quote::identifier(&known.names.cased(&name));
    let mut tokens = tokens(statement);
    if let Some(token) = tokens.iter_mut().find(|it| it.is_identifier()) {
        token.text = &target;
    }
    tokens.iter().map(|it| it.text).collect()
}

/// `CREATE VIEW name WITH (…) AS query`; the view's columns are listed where they are called otherwise.
fn view(object: &v1::SchemaObject, statement: &str, known: &Known<'_>) -> Result<Followed, Refusal> {
    let tokens = tokens(statement);
    let join = |tokens: &[Token<'_>]| tokens.iter().map(|it| it.text).collect::<String>();
    let name = tokens.iter().position(Token::is_identifier).unwrap_or_default();
    let body = tokens.iter().position(|it| it.is("AS")).unwrap_or(tokens.len());
    let own = known.relation(&(object.schema.clone(), object.name.clone()));
    let (target, list) = own.map_or_else(Default::default, |view| (view.target.clone(), columns_of(view)));
    if let Some(column) = own.and_then(Relation::doubled) {
        return Err(Refusal::because(format!("two of its columns would be called {column}")));
    }
    let surroundings = Surroundings { is_query: true, ..Surroundings::default() };
    let query = query::follow(&join(&tokens[body..]), known, &surroundings)?;
    let head = join(&tokens[..name]);
    let options = join(&tokens[(name + 3).min(body)..body]);
    let target = quote::qualified(&target.0, &target.1);
    Ok(Followed { text: format!("{head}{target}{list}{options}{}", query.text), mentions: query.mentions })
}

fn columns_of(view: &Relation) -> String {
    if !view.is_changed() {
        return String::new();
    }
    let columns = view.columns.iter().filter_map(|(_, target)| target.as_ref());
    format!(" ({})", columns.map(|it| quote::identifier(it)).collect::<Vec<_>>().join(", "))
}

/// Rules and triggers name the columns of the rows that `new` and `old` are.
fn event(object: &v1::SchemaObject, statement: &str, known: &Known<'_>) -> Result<Followed, Refusal> {
    let relation =
        object.relation.as_ref().map(|it| (it.schema.clone(), it.name.clone())).unwrap_or_default();
    let changed = known.relation(&relation).filter(|relation| relation.is_changed());
    let mut statement = statement.to_owned();
    if object.object_kind == "trigger" {
        if let Some(relation) = changed {
            statement = update_of(&statement, relation)?;
        }
        arguments(&statement, known)?;
    }
    let row = |alias: &str| (alias.to_owned(), relation.clone(), alias.to_owned());
    let rows = if changed.is_some() { vec![row("new"), row("old")] } else { Vec::new() };
    query::follow(&statement, known, &Surroundings { rows, prefixed: true, ..Surroundings::default() })
}

/// `UPDATE OF a, b`.
fn update_of(statement: &str, relation: &Relation) -> Result<String, Refusal> {
    let mut written = String::new();
    let mut in_list = false;
    for token in tokens(statement) {
        in_list = if token.kind == Kind::Keyword { token.is("OF") } else { in_list };
        match relation.column(&token.name()).filter(|_| in_list && token.is_identifier()) {
            Some(Some(target)) => written.push_str(&quote::identifier(target)),
            Some(None) => return Err(Refusal::LeftOut(token.name())),
            None => written.push_str(token.text),
        }
    }
    Ok(written)
}

/// What a trigger hands to its function may be names.
fn arguments(statement: &str, known: &Known<'_>) -> Result<(), Refusal> {
    let tokens = tokens(statement);
    let call = tokens.iter().rposition(|it| it.is("EXECUTE")).unwrap_or(tokens.len());
    for token in tokens[call..].iter().filter(|it| it.kind == Kind::Literal) {
        let argument = token.text.trim_matches('\'');
        let last = argument.rsplit('.').next().unwrap_or_default().trim_matches('"');
        if known.is_changed_field(last) || known.names.moved().any(|(source, _)| source.1 == last) {
            return Err(Refusal::because(format!(
                "it hands {} to its function, which may be a name that is another one here",
                token.text
            )));
        }
    }
    Ok(())
}

/// A statement with conditions on a relation's columns: from `begin` on, bare names are columns.
fn scoped(
    statement: &str,
    known: &Known<'_>,
    relation: Option<&Name>,
    columns: &dyn Fn(&Name) -> ColumnMap,
    begin: &str,
) -> Result<Followed, Refusal> {
    let Some(relation) = relation.and_then(|name| known.relation(name)) else {
        return plain(statement, known);
    };
    let tokens = tokens(statement);
    let join = |tokens: &[Token<'_>]| tokens.iter().map(|it| it.text).collect::<String>();
    let mut depth = 0;
    let starts = |token: &Token<'_>| {
        depth += i32::from(token.is("(")) - i32::from(token.is(")"));
        depth == 0 && (token.is(begin) || begin == "USING" && token.is("WITH"))
    };
    let start = tokens.iter().position(starts).unwrap_or(tokens.len());
    // CREATE STATISTICS … ON columns FROM table.
    let end = match tokens.iter().rposition(|it| it.is("FROM")) {
        Some(place) if begin == "ON" => place,
        _ => tokens.len(),
    };
    let head = plain(&join(&tokens[..start]), known)?;
    let map = columns(&relation.source);
    let scope = Scope { table: &relation.source.1, target: &relation.target.1, columns: &map };
    let row = (relation.source.1.clone(), relation.source.clone(), relation.target.1.clone());
    let surroundings = Surroundings { scope: Some(&scope), rows: vec![row], ..Surroundings::default() };
    let middle = query::follow(&join(&tokens[start..end]), known, &surroundings)?;
    let tail = plain(&join(&tokens[end..]), known)?;
    let mut mentions = head.mentions;
    mentions.extend(middle.mentions);
    mentions.extend(tail.mentions);
    Ok(Followed { text: format!("{}{}{}", head.text, middle.text, tail.text), mentions })
}
