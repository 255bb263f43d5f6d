//! Bodies of functions that are texts: what they name can be told for certain in few cases, and everything else is refused.
//!
//! A text names an object for certain where it says its schema. A bare name means what the session's search path says when the
//! function runs, unless the function has a path of its own; what a string is used for is not known; and so is whose column a
//! name is. So a text is left as it is where none of its words is one that the task changes, and is rewritten where each such word
//! is part of a `schema.name`.

use std::collections::{BTreeMap, BTreeSet};

use strait_postgres::quote;

use super::super::expression::{Mentions, Refusal};
use super::super::lexer::{Kind, Token, tokens_of_text};
use super::super::names::Name;
use super::known::{Known, significant};
use super::query::Followed;

/// A body, and what its header says about it.
pub(super) struct Text<'a> {
    /// With its dollar quotes.
    quoted: &'a str,
    /// Its words are SQL: `sql` and `plpgsql`.
    is_sql: bool,
    /// The function says itself where bare names are looked for.
    has_path: bool,
    /// Relations whose rows it meets without naming them.
    meets: BTreeSet<Name>,
}

impl<'a> Text<'a> {
    pub(super) fn new(quoted: &'a str, header: &str, known: &Known<'_>) -> Result<Self, Refusal> {
        let header = significant(header);
        let language = header.windows(2).find(|it| it[0].is("LANGUAGE")).map(|it| it[1].name());
        let name = header
            .windows(3)
            .find(|it| it[0].is_identifier() && it[1].is("."))
            .map(|it| (it[0].name(), it[2].name()))
            .unwrap_or_default();
        let mut meets: BTreeSet<Name> = known.routines.get(&name).cloned().unwrap_or_default();
        meets.extend(known.fired_by.get(&name).cloned().unwrap_or_default());
        Ok(Self {
            quoted,
            is_sql: matches!(language.as_deref(), Some("sql" | "plpgsql")),
            has_path: header.windows(2).any(|it| it[0].is("SET") && it[1].is("search_path")),
            meets,
        })
    }
}

/// Words that the task changes.
struct Changed<'a> {
    schemas: BTreeSet<&'a str>,
    /// Relations, types and sequences by their names, and whether one of that name is called otherwise.
    objects: BTreeMap<&'a str, bool>,
    /// Routines in schemas that are called otherwise.
    routines: BTreeSet<&'a str>,
}

impl<'a> Changed<'a> {
    fn new(known: &'a Known<'_>) -> Self {
        let mut objects: BTreeMap<&str, bool> = BTreeMap::new();
        let mut schemas = BTreeSet::new();
        for (source, target) in known.names.moved() {
            *objects.entry(&source.1).or_default() |= source.1 != target.1;
            if known.names.schema(&source.0) != source.0 || source.0 != target.0 {
                schemas.insert(&*source.0);
            }
        }
        let mut routines = BTreeSet::new();
        for name in known.routines.keys().filter(|name| known.names.function(&name.0, &name.1) != **name) {
            routines.insert(&*name.1);
            schemas.insert(&*name.0);
        }
        Self { schemas, objects, routines }
    }
}

/// Rewrites a body, or says why it is not followed.
pub(super) fn follow(text: &Text<'_>, known: &Known<'_>) -> Result<Followed, Refusal> {
    let tag = text.quoted[1..].find('$').map_or(1, |end| end + 2);
    let (tag, content) = text.quoted.split_at(tag.min(text.quoted.len() / 2));
    let content = &content[..content.len().saturating_sub(tag.len())];
    let all = tokens_of_text(content);
    let mut body = Body {
        significant: all
            .iter()
            .enumerate()
            .filter(|(_, it)| it.kind != Kind::Space)
            .map(|(at, _)| at)
            .collect(),
        all: &all,
        changed: Changed::new(known),
        known,
        text,
        written: String::from(tag),
        mentions: Mentions::new(),
        met: text.meets.clone(),
    };
    body.run()?;
    body.check_columns()?;
    let written = format!("{}{tag}", body.written);
    Ok(Followed { text: written, mentions: body.mentions })
}

struct Body<'a> {
    all: &'a [Token<'a>],
    /// The places of those that are no spaces.
    significant: Vec<usize>,
    changed: Changed<'a>,
    known: &'a Known<'a>,
    text: &'a Text<'a>,
    written: String,
    mentions: Mentions,
    /// Relations whose columns it may name.
    met: BTreeSet<Name>,
}

impl<'a> Body<'a> {
    fn run(&mut self) -> Result<(), Refusal> {
        let mut copied = 0;
        let mut place = 0;
        while place < self.significant.len() {
            let at = self.significant[place];
            let token = self.all[at];
            let pair = self.pair(place);
            let replaced = match (token.kind, pair) {
                (Kind::Literal, _) => self.literal(place)?.map(|text| (1, text)),
                (_, Some(name)) if !self.follows(place, ".") => {
                    self.qualified(place, name)?.map(|text| (3, text))
                }
                (Kind::Name | Kind::Keyword | Kind::Quoted, _) => {
                    self.bare(place)?;
                    None
                }
                _ => None,
            };
            if let Some((count, text)) = replaced {
                self.copy(copied, at);
                self.written.push_str(&text);
                place += count;
                copied = self.significant.get(place - 1).map_or(self.all.len(), |last| last + 1);
            } else {
                place += 1;
            }
        }
        self.copy(copied, self.all.len());
        Ok(())
    }

    fn copy(&mut self, from: usize, to: usize) {
        self.all[from..to].iter().for_each(|it| self.written.push_str(it.text));
    }

    fn token(&self, place: usize) -> Option<Token<'a>> {
        self.significant.get(place).map(|at| self.all[*at])
    }

    fn is(&self, place: usize, text: &str) -> bool {
        self.token(place).is_some_and(|it| it.text.eq_ignore_ascii_case(text))
    }

    fn follows(&self, place: usize, text: &str) -> bool {
        place > 0 && self.is(place - 1, text)
    }

    /// The words `a.b` at a place.
    fn pair(&self, place: usize) -> Option<Name> {
        let first = self.token(place)?.word()?;
        let second = self.token(place + 2).filter(|_| self.is(place + 1, "."))?.word()?;
        Some((first, second))
    }

    fn qualified(&mut self, place: usize, name: Name) -> Result<Option<String>, Refusal> {
        let is_object = self.known.is_object(&name);
        let is_routine = self.known.routines.contains_key(&name) && self.is(place + 3, "(");
        if !self.text.is_sql || !is_object && !is_routine {
            self.bare(place)?;
            return Ok(None);
        }
        if is_object && is_routine {
            return Err(self.because(&name.1, "is a table and a function"));
        }
        self.mentions.insert((is_routine, name.clone()));
        if is_routine {
            self.met.extend(self.known.routines.get(&name).into_iter().flatten().cloned());
        } else if self.known.relation(&name).is_some() {
            self.met.insert(name.clone());
        }
        let names = self.known.names;
        let target =
            if is_routine { names.function(&name.0, &name.1) } else { names.object(&name.0, &name.1) };
        Ok((target != name).then(|| quote::qualified(&target.0, &target.1)))
    }

    /// A word without a schema before it.
    fn bare(&mut self, place: usize) -> Result<(), Refusal> {
        let Some(word) = self.token(place).and_then(|it| it.word()) else { return Ok(()) };
        if self.follows(place, ".") {
            return Ok(());
        }
        if self.changed.schemas.contains(&*word)
            && (self.is(place + 1, ".") || !self.text.is_sql || self.follows_path(place))
        {
            return Err(self.because(&word, "is a schema that is called otherwise or whose objects are"));
        }
        if self.is(place + 1, "(") && self.changed.routines.contains(&*word) && !self.text.has_path {
            return Err(
                self.because(&word, "is a function without its schema: which one depends on the search path")
            );
        }
        match self.changed.objects.get(&*word) {
            // What has its own name still, in a schema that the function's own path has.
            Some(false) if self.text.has_path || self.is(place + 1, ".") => {}
            Some(_) => {
                return Err(
                    self.because(&word, "stands without its schema: what it is depends on the search path")
                );
            }
            None => {}
        }
        // Bare names may be tables all the same.
        let met = self.known.relations.keys().filter(|name| name.1 == word).cloned();
        self.met.extend(met.collect::<Vec<_>>());
        Ok(())
    }

    /// `SET search_path = schema` within the body.
    fn follows_path(&self, place: usize) -> bool {
        (1..8).any(|distance| place >= distance && self.is(place - distance, "search_path"))
    }

    fn literal(&mut self, place: usize) -> Result<Option<String>, Refusal> {
        let Some(token) = self.token(place) else { return Ok(None) };
        let words: Vec<String> = tokens_of_text(content(token.text)).iter().filter_map(Token::word).collect();
        let is_changed = |word: &&String| {
            self.changed.schemas.contains(&***word)
                || self.changed.objects.contains_key(&***word)
                || self.changed.routines.contains(&***word)
        };
        let Some(word) = words.iter().find(is_changed) else { return Ok(None) };
        let of_sequence = self.follows(place, "(")
            && ["nextval", "currval", "setval"].iter().any(|it| place > 1 && self.is(place - 2, it));
        let of_class =
            self.is(place + 1, "::") && (self.is(place + 2, "regclass") || self.is(place + 2, "regtype"));
        if let ([schema, name], true) = (&*words, of_sequence || of_class) {
            let name = (schema.clone(), name.clone());
            let target = self.known.names.object(&name.0, &name.1);
            self.mentions.insert((false, name));
            return Ok(Some(quote::literal(&quote::qualified(&target.0, &target.1))));
        }
        Err(self.because(word, "stands in a string"))
    }

    /// Whose column a name is cannot be told, so none of those that are changed may be among the words.
    fn check_columns(&self) -> Result<(), Refusal> {
        let mut words: BTreeSet<String> = BTreeSet::new();
        for token in self.all {
            match token.kind {
                Kind::Literal => {
                    words.extend(tokens_of_text(content(token.text)).iter().filter_map(Token::word))
                }
                _ => words.extend(token.word()),
            }
        }
        for relation in self.met.iter().filter_map(|name| self.known.relation(name)) {
            let of = format!("{}.{}", relation.source.0, relation.source.1);
            if let Some(column) = relation.changed().find(|it| words.contains(*it)) {
                return Err(self.because(
                    column,
                    &format!("may be the column of {of} that is called otherwise or left out"),
                ));
            }
            let named = self.mentions.contains(&(false, relation.source.clone()));
            if relation.lacks_columns() && (named || self.has_star()) {
                return Err(Refusal::because(format!(
                    "its body is a text and may need whole rows of {of}, of which the task leaves columns out"
                )));
            }
        }
        Ok(())
    }

    /// `*` for all columns, as far as it may be: `count(*)` is not.
    fn has_star(&self) -> bool {
        (0..self.significant.len()).any(|place| self.is(place, "*") && !self.follows(place, "("))
    }

    fn because(&self, word: &str, what: &str) -> Refusal {
        Refusal::because(format!("its body is a text, and in it {} {what}", quote::identifier(word)))
    }
}

/// A literal without its quotes.
fn content(literal: &str) -> &str {
    let inner = literal.trim_start_matches(|it: char| it.is_ascii_alphabetic());
    inner.trim_matches(|it| it == '\'' || it == '$')
}
