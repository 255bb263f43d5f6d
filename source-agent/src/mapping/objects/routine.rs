//! Functions and procedures: a header that PostgreSQL prints, and a body that it prints as well or that is a text.

use strait_postgres::quote;

use super::super::expression::{Refusal, rewrite_noting};
use super::super::lexer::{Kind, Token, tokens};
use super::known::Known;
use super::query::{self, Followed, Surroundings};
use super::text::{self, Text};

/// Rewrites `CREATE FUNCTION …`. `language` is as the header has it.
pub(super) fn follow(statement: &str, known: &Known<'_>) -> Result<Followed, Refusal> {
    let tokens = tokens(statement);
    let at = |found: fn(&[Token<'_>]) -> bool| {
        (0..tokens.len()).find(|place| tokens[*place].kind != Kind::Space && found(&tokens[*place..]))
    };
    let join = |tokens: &[Token<'_>]| tokens.iter().map(|it| it.text).collect::<String>();
    let printed = at(|it| {
        it[0].is("RETURN")
            || it[0].is("BEGIN")
                && it.iter().skip(1).find(|it| it.kind != Kind::Space).is_some_and(|it| it.is("ATOMIC"))
    });
    let quoted = at(|it| it[0].kind == Kind::Literal && it[0].text.starts_with('$'));
    match (printed, quoted) {
        (Some(begin), quoted) if quoted.is_none_or(|quoted| begin < quoted) => {
            let (text, mut mentions) = header(&join(&tokens[..begin]), known)?;
            let surroundings = Surroundings { is_query: true, ..Surroundings::default() };
            let body = query::follow(&join(&tokens[begin..]), known, &surroundings)?;
            mentions.extend(body.mentions);
            Ok(Followed { text: format!("{text}{}", body.text), mentions })
        }
        (_, Some(place)) => {
            let head = join(&tokens[..place]);
            let (header_text, mut mentions) = header(&head, known)?;
            let body = text::follow(&Text::new(tokens[place].text, &head, known)?, known)?;
            mentions.extend(body.mentions);
            Ok(Followed {
                text: format!("{header_text}{}{}", body.text, join(&tokens[place + 1..])),
                mentions,
            })
        }
        _ => {
            let (text, mentions) = header(statement, known)?;
            Ok(Followed { text, mentions })
        }
    }
}

/// What stands before the body; a search path of its own goes where its schemas go.
fn header(text: &str, known: &Known<'_>) -> Result<(String, super::super::expression::Mentions), Refusal> {
    let (text, mentions) = rewrite_noting(text, known.names, None)?;
    let mut written = String::new();
    let mut in_path = false;
    for token in tokens(&text) {
        in_path = match token.kind {
            Kind::Name => token.is("search_path"),
            Kind::Literal | Kind::Space => in_path,
            _ => in_path && (token.is("TO") || token.is(",")),
        };
        if in_path && token.kind == Kind::Literal {
            let schema = token.text.trim_matches('\'').replace("''", "'");
            let target = known.names.schema(&schema);
            let text = if target == schema { token.text.to_owned() } else { quote::literal(&target) };
            written.push_str(&text);
        } else {
            written.push_str(token.text);
        }
    }
    Ok((written, mentions))
}
