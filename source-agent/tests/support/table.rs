//! Rows in memory, changed as the stream says.

use std::collections::{BTreeMap, HashMap};

use strait_postgres::pgoutput::{TupleData, TupleValue};
use strait_proto::v1;

/// A row by column name; text as the source prints it.
pub(crate) type Row = BTreeMap<String, Option<String>>;

#[derive(Debug, Default, Clone)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) conflicts: usize,
    /// Positions by the column `id`, for tables that have it as their key.
    by_id: HashMap<String, usize>,
}

impl Table {
    pub(crate) fn change(&mut self, relation: &v1::RelationDefinition, change: &v1::RowChange) {
        let old = (!change.old_tuple.is_empty()).then(|| values(relation, &change.old_tuple));
        let new = (!change.new_tuple.is_empty()).then(|| values(relation, &change.new_tuple));
        match change.operation() {
            v1::RowOperation::Insert => self.insert(complete(new.unwrap())),
            v1::RowOperation::Delete => {
                if let Some(at) = self.find(relation, &old.unwrap(), change.old_is_full) {
                    self.remove(at);
                }
            }
            v1::RowOperation::Update => {
                let new = new.unwrap();
                let lookup = old.unwrap_or_else(|| new.clone());
                if let Some(at) = self.find(relation, &lookup, change.old_is_full) {
                    let mut row = self.remove(at);
                    for (name, value) in new {
                        if !name.is_empty() && value != TupleValue::Unchanged {
                            row.insert(name, text(value));
                        }
                    }
                    self.insert(row);
                }
            }
            v1::RowOperation::Unspecified => panic!("no operation"),
        }
    }

    pub(crate) fn insert(&mut self, row: Row) {
        if let Some(Some(id)) = row.get("id") {
            self.by_id.insert(id.clone(), self.rows.len());
        }
        self.rows.push(row);
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.by_id.clear();
    }

    fn remove(&mut self, at: usize) -> Row {
        let row = self.rows.swap_remove(at);
        if let Some(Some(id)) = row.get("id") {
            self.by_id.remove(id);
        }
        if let Some(Some(id)) = self.rows.get(at).and_then(|moved| moved.get("id")) {
            self.by_id.insert(id.clone(), at);
        }
        row
    }

    fn find(
        &mut self,
        relation: &v1::RelationDefinition,
        lookup: &HashMap<String, TupleValue>,
        full: bool,
    ) -> Option<usize> {
        let used: Vec<&v1::RelationColumn> = relation
            .columns
            .iter()
            .filter(|column| (full || column.key) && !column.name.is_empty())
            .collect();
        let found = match &used[..] {
            [key] if key.name == "id" && !full => {
                text(lookup["id"].clone()).and_then(|id| self.by_id.get(&id).copied())
            }
            _ => self.search(&used, lookup),
        };
        if found.is_none() {
            self.conflicts += 1;
        }
        found
    }

    fn search(&self, used: &[&v1::RelationColumn], lookup: &HashMap<String, TupleValue>) -> Option<usize> {
        self.rows.iter().position(|row| {
            used.iter().all(|column| match &lookup[&column.name] {
                TupleValue::Unchanged => true,
                value => row.get(&column.name).cloned().flatten() == text(value.clone()),
            })
        })
    }
}

fn values(relation: &v1::RelationDefinition, tuple: &bytes::Bytes) -> HashMap<String, TupleValue> {
    let tuple = TupleData::new(tuple.clone()).unwrap();
    assert_eq!(tuple.column_count(), relation.columns.len());
    relation.columns.iter().map(|column| column.name.clone()).zip(tuple.values()).collect()
}

fn complete(values: HashMap<String, TupleValue>) -> Row {
    values
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| {
            assert_ne!(value, TupleValue::Unchanged, "an insert is complete");
            (name, text(value))
        })
        .collect()
}

fn text(value: TupleValue) -> Option<String> {
    match value {
        TupleValue::Null => None,
        TupleValue::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Rows of COPY's text format.
pub(crate) fn parse_copy(data: &[u8], columns: &[String]) -> Vec<Row> {
    let text = std::str::from_utf8(data).unwrap();
    let lines = text.split_terminator('\n');
    lines
        .map(|line| {
            let fields: Vec<&str> = if columns.is_empty() { vec![] } else { line.split('\t').collect() };
            assert_eq!(fields.len(), columns.len());
            columns.iter().cloned().zip(fields.into_iter().map(unescape)).collect()
        })
        .collect()
}

fn unescape(field: &str) -> Option<String> {
    if field == "\\N" {
        return None;
    }
    let mut text = String::new();
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next().unwrap() {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    Some(text)
}
