//! Text that fits its place: cut, wrapped, and free of control characters that a name from a catalog may
//! hold.

use std::borrow::Cow;

/// How wide tables and lines are, in characters.
pub(crate) const WIDTH: usize = 80;

/// The text with control characters escaped, so that a name cannot move the cursor.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape =
        |c: char| -> String { if c.is_control() { c.escape_default().to_string() } else { c.to_string() } };
    Cow::Owned(text.chars().map(escape).collect())
}

/// The text in at most `width` characters, its end replaced by `…` where it is longer.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The text in lines of at most `width` characters, broken at spaces. A longer word stands on a line of its
/// own, whole: it may be a path or a statement to paste. Line breaks of the text stay.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let word = clean(word);
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        lines.push(line);
    }
    lines
}

/// A label at the left and a wrapped text in the column `indent`, ended by a line break. An empty text makes
/// nothing.
pub(crate) fn indented(label: &str, indent: usize, text: &str) -> String {
    let mut out = String::new();
    for (number, line) in wrapped(text, WIDTH.saturating_sub(indent)).iter().enumerate() {
        let label = if number == 0 { label } else { "" };
        out.push_str(format!("{label:<indent$}{line}").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_wrapped_and_cleaned() {
        assert_eq!(cut("größe", 5), "größe");
        assert_eq!(cut("größer", 5), "größ…");
        assert_eq!(wrapped("a bb ccc\n\nd", 4), ["a bb", "ccc", "", "d"]);
        assert_eq!(wrapped("abcdefgh i", 4), ["abcdefgh", "i"]);
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(indented("cause", 7, "x y"), "cause  x y\n");
        assert_eq!(indented("cause", 7, ""), "");
    }
}
