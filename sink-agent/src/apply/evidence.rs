//! What a conflict keeps of the rows: the source's tuples as JSON by column, the destination's row as its server
//! writes it, both within bounds.

use strait_proto::v1::ReplicaIdentity;

use super::change::{Change, ChangeKind};
use super::relation::{LookupBy, Relation};
use super::statements::values;
use super::tuple::{Cell, Tuple};
use crate::store::{Conflict, ConflictReason};

/// What a conflict keeps of one row, in bytes.
const ROW_BYTES_MAX: usize = 8 * 1024;
/// What it keeps of one value, in bytes.
const VALUE_BYTES_MAX: usize = 1024;
/// What it keeps of the row's key and of the server's message, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;
/// The characters that the server returns of a row that was in the way: enough to see that it is too large.
pub(super) const DESTINATION_ROW_CHARACTERS_MAX: usize = ROW_BYTES_MAX + 1;

/// Conflicts of one change.
pub(super) fn conflict(change: &Change, reason: ConflictReason) -> Conflict {
    let relation = &change.relation;
    let mut is_cut = false;
    let mut row = |tuple: &Tuple, columns: &[usize]| Some(as_json(relation, tuple, columns, &mut is_cut));
    let (all, key) = (&relation.written, old_columns(relation));
    let (old_row, new_row) = match &change.kind {
        ChangeKind::Insert { new } => (None, row(new, all)),
        ChangeKind::Update { old, new } => (old.as_ref().and_then(|old| row(old, key)), row(new, all)),
        ChangeKind::Delete { old } => (row(old, key), None),
    };
    Conflict {
        table: relation.target.name.clone(),
        operation: change.operation(),
        reason,
        row_key: row_key(change),
        commit_lsn: change.commit_lsn,
        old_row,
        new_row,
        destination_row: None,
        message: String::new(),
        is_cut,
    }
}

/// A conflict with a row of the destination, of which the server returned the JSON as far as
/// [`DESTINATION_ROW_CHARACTERS_MAX`].
pub(super) fn conflict_with(change: &Change, reason: ConflictReason, row: &str) -> Conflict {
    let mut conflict = conflict(change, reason);
    let whole = row.len() <= ROW_BYTES_MAX;
    conflict.is_cut |= !whole;
    let kept = if whole { row.to_owned() } else { quoted(&cut(row, ROW_BYTES_MAX)) };
    conflict.destination_row = Some(kept);
    conflict
}

/// A change that was left out, and what the server said about it.
pub(super) fn not_applied(change: &Change, message: &str) -> Conflict {
    Conflict { message: cut(message, TEXT_BYTES_MAX), ..conflict(change, ConflictReason::NotApplied) }
}

/// What identifies the row of a change, as text.
pub(super) fn row_key(change: &Change) -> String {
    let relation = &change.relation;
    let columns = &relation.lookup.columns;
    let texts = columns.iter().zip(values(relation, change.found_by(), columns)).map(|(column, value)| {
        let value = value.as_ref().map_or("NULL".into(), |value| String::from_utf8_lossy(value));
        format!("{}={value}", relation.target.columns[*column].name)
    });
    cut(&texts.collect::<Vec<_>>().join(", "), TEXT_BYTES_MAX)
}

/// The columns that an old tuple has: of a row with a key the source sends no others.
fn old_columns(relation: &Relation) -> &[usize] {
    let key_alone = matches!(relation.identity, ReplicaIdentity::PrimaryKey | ReplicaIdentity::Index)
        && relation.lookup.by != LookupBy::WholeRow;
    if key_alone { &relation.lookup.columns } else { &relation.written }
}

/// An object of the columns' values, each the text that the source sent. What was not sent is left out.
fn as_json(relation: &Relation, tuple: &Tuple, columns: &[usize], is_cut: &mut bool) -> String {
    let cells: Vec<Cell<'_>> = tuple.cells().collect();
    let mut json = String::from("{");
    for (column, position) in relation.written.iter().zip(&relation.positions) {
        if !columns.contains(column) {
            continue;
        }
        let value = match cells.get(*position) {
            Some(Cell::Text(content)) => {
                let text = String::from_utf8_lossy(content);
                *is_cut |= text.len() > VALUE_BYTES_MAX;
                quoted(&cut(&text, VALUE_BYTES_MAX))
            }
            Some(Cell::Null) => "null".to_owned(),
            Some(Cell::Unchanged) | None => continue,
        };
        let name = quoted(&relation.target.columns[*column].name);
        if json.len() + name.len() + value.len() + 3 > ROW_BYTES_MAX {
            *is_cut = true;
            break;
        }
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&format!("{name}:{value}"));
    }
    json.push('}');
    json
}

/// As a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strait_proto::Lsn;

    use super::super::relation::tests::keyed;
    use super::super::tuple::tests::tuple;
    use super::*;

    fn insert(relation: &Arc<Relation>, name: Option<&str>) -> Change {
        let kind = ChangeKind::Insert { new: tuple(&[Some("1"), name]) };
        Change { relation: Arc::clone(relation), kind, commit_lsn: Lsn(7) }
    }

    #[test]
    fn the_sources_row_is_kept_by_column() {
        let kept = conflict(&insert(&keyed(), Some("a \"b\"\n")), ConflictReason::NotApplied);
        assert_eq!(kept.new_row.as_deref(), Some(r#"{"id":"1","name":"a \"b\"\n"}"#));
        assert_eq!((kept.row_key.as_str(), kept.is_cut), ("id=1", false));
        let null = conflict(&insert(&keyed(), None), ConflictReason::NotApplied);
        assert_eq!(null.new_row.as_deref(), Some(r#"{"id":"1","name":null}"#));
    }

    #[test]
    fn a_large_row_is_cut_and_says_so() {
        let change = insert(&keyed(), Some(&"é".repeat(ROW_BYTES_MAX)));
        let kept = conflict_with(&change, ConflictReason::RowDisplaced, &"x".repeat(ROW_BYTES_MAX + 1));
        assert!(kept.is_cut);
        for row in [kept.new_row.unwrap(), kept.destination_row.unwrap()] {
            assert!(row.len() <= ROW_BYTES_MAX + 8, "{}", row.len());
            assert!(serde_json::from_str::<serde_json::Value>(&row).is_ok(), "{row}");
        }
    }
}
