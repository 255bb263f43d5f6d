//! The tokens of texts that PostgreSQL's deparse functions print.
//!
//! What they print is simpler than SQL, and that is what makes it safe to rewrite: keywords are in capitals, every identifier that
//! is not lower-case ASCII or that is a word of the grammar is quoted, and there are no comments.

/// A token; the texts of all of them, one after the other, are the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Space,
    /// A lower-case word: an identifier, or a word of a type's name.
    Name,
    /// `"…"`.
    Quoted,
    /// A word with a capital letter.
    Keyword,
    /// `'…'`, with its prefix, and `$tag$…$tag$`.
    Literal,
    Number,
    /// Punctuation by itself; `::`, `:=` and operators as a whole.
    Symbol,
}

impl Token<'_> {
    pub(super) fn is_identifier(&self) -> bool {
        matches!(self.kind, Kind::Name | Kind::Quoted)
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// An identifier or a keyword as it is meant in a text that a person wrote.
    pub(super) fn word(&self) -> Option<String> {
        match self.kind {
            Kind::Quoted => Some(self.name()),
            Kind::Name | Kind::Keyword => Some(self.text.to_lowercase()),
            _ => None,
        }
    }

    /// An identifier as it is meant.
    pub(super) fn name(&self) -> String {
        match self.kind {
            Kind::Quoted => self.text[1..self.text.len().saturating_sub(1)].replace("\"\"", "\""),
            _ => self.text.to_owned(),
        }
    }
}

/// Splits a text that a person wrote: comments, which count as spaces, and words of any case.
pub(super) fn tokens_of_text(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = match first {
            '-' if rest.starts_with("--") => (Kind::Space, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Kind::Space, comment(rest)),
            'e' if rest[1..].starts_with('\'') => (Kind::Literal, enclosed(rest, 1, '\'', true)),
            'b' | 'x' | 'n' if rest[1..].starts_with('\'') => (Kind::Literal, enclosed(rest, 1, '\'', false)),
            _ => match next(rest, first) {
                // An operator ends where a comment begins.
                (Kind::Symbol, length) => {
                    let symbol = &rest[..length.max(first.len_utf8())];
                    let ends = [symbol.find("--"), symbol.find("/*")].into_iter().flatten().min();
                    (Kind::Symbol, ends.unwrap_or(length))
                }
                other => other,
            },
        };
        let (token, after) = rest.split_at(length.max(first.len_utf8()));
        tokens.push(Token { kind, text: token });
        rest = after;
    }
    tokens
}

/// The length of a comment, with those within it.
fn comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Splits a text. An unfinished literal or identifier ends with the text.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first);
        let (token, after) = rest.split_at(length.max(first.len_utf8()));
        tokens.push(Token { kind, text: token });
        rest = after;
    }
    tokens
}

fn next(rest: &str, first: char) -> (Kind, usize) {
    const OPERATOR: &str = "+-*/<>=~!@#%^&|`?";
    let while_true = |test: &dyn Fn(char) -> bool| rest.find(|it| !test(it)).unwrap_or(rest.len());
    match first {
        it if it.is_whitespace() => (Kind::Space, while_true(&char::is_whitespace)),
        '"' => (Kind::Quoted, enclosed(rest, 0, '"', false)),
        '\'' => (Kind::Literal, enclosed(rest, 0, '\'', false)),
        'E' | 'B' | 'X' | 'N' if rest[1..].starts_with('\'') => {
            (Kind::Literal, enclosed(rest, 1, '\'', first == 'E'))
        }
        '$' => (Kind::Literal, dollar_quoted(rest)),
        '0'..='9' => (Kind::Number, while_true(&|it| it.is_ascii_alphanumeric() || it == '.' || it == '_')),
        it if is_word(it) => {
            let length = while_true(&|it| is_word(it) || it.is_ascii_digit() || it == '$');
            let lower = !rest[..length].contains(char::is_uppercase);
            (if lower { Kind::Name } else { Kind::Keyword }, length)
        }
        ':' if rest.starts_with("::") || rest.starts_with(":=") => (Kind::Symbol, 2),
        it if OPERATOR.contains(it) => (Kind::Symbol, while_true(&|it| OPERATOR.contains(it))),
        it => (Kind::Symbol, it.len_utf8()),
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_' || !letter.is_ascii()
}

/// The length of what begins with a quote at `start`; a doubled quote is one within it.
fn enclosed(rest: &str, start: usize, quote: char, backslashes: bool) -> usize {
    let mut letters = rest[start + 1..].char_indices().peekable();
    while let Some((place, letter)) = letters.next() {
        if backslashes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return start + 1 + place + quote.len_utf8();
        }
    }
    rest.len()
}

fn dollar_quoted(rest: &str) -> usize {
    let Some(end) = rest[1..].find('$').map(|end| end + 2) else { return 1 };
    let tag = &rest[..end];
    if tag[1..end - 1].contains(|it: char| !it.is_alphanumeric() && it != '_') {
        return 1;
    }
    rest[end..].find(tag).map_or(rest.len(), |close| end + close + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_and_stays_whole() {
        use Kind::{Keyword, Literal, Name, Number, Quoted, Symbol};
        for (text, wanted) in [
            (
                r#"("A ""b""" > 0)"#,
                vec![(Symbol, "("), (Quoted, r#""A ""b""""#), (Symbol, ">"), (Number, "0"), (Symbol, ")")],
            ),
            (
                "a::text <> ''::text",
                vec![
                    (Name, "a"),
                    (Symbol, "::"),
                    (Name, "text"),
                    (Symbol, "<>"),
                    (Literal, "''"),
                    (Symbol, "::"),
                    (Name, "text"),
                ],
            ),
            (r"E'it''s \' a' || 'x\'", vec![(Literal, r"E'it''s \' a'"), (Symbol, "||"), (Literal, r"'x\'")]),
            ("$f$ a $$ $f$ b", vec![(Literal, "$f$ a $$ $f$"), (Name, "b")]),
            (
                "CASE WHEN é_1$ THEN 1.5e3 END",
                vec![
                    (Keyword, "CASE"),
                    (Keyword, "WHEN"),
                    (Name, "é_1$"),
                    (Keyword, "THEN"),
                    (Number, "1.5e3"),
                    (Keyword, "END"),
                ],
            ),
            ("'open", vec![(Literal, "'open")]),
        ] {
            let tokens = tokens(text);
            assert_eq!(tokens.iter().map(|it| it.text).collect::<String>(), text);
            let found: Vec<_> =
                tokens.iter().filter(|it| it.kind != Kind::Space).map(|it| (it.kind, it.text)).collect();
            assert_eq!(found, wanted, "{text}");
        }
    }
}
