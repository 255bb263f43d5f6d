//! Rules on rows that are copied: COPY's text format taken apart, and written again.

use bytes::{Bytes, BytesMut};
use strait_postgres::pgoutput::TupleValue;

use super::plan::{CopiedColumn, CopyRules};
use crate::error::RunError;
use crate::rows::not_transformed;
use crate::transform::{Program, Subject};

/// Applies a table's rules to what the server sends of it.
pub(super) struct Rewriter<'a> {
    rules: &'a CopyRules,
    program: Program,
    /// For each column that is sent, its position among the program's.
    order: Vec<usize>,
    /// The beginning of a row whose end has not come.
    partial: BytesMut,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(rules: &'a CopyRules, columns: &[CopiedColumn]) -> Result<Self, RunError> {
        let program = Program::compile(&rules.text, &rules.inputs).map_err(|troubles| {
            let troubles: Vec<String> = troubles.iter().map(ToString::to_string).collect();
            RunError::definite(
                format!(
                    "{}: rules (`transform`) do not fit the table: {}",
                    rules.text.table,
                    troubles.join("; ")
                ),
                "Release the task and start it with rules that fit: strait task precheck tests them.",
            )
        })?;
        let read = rules.inputs.iter().map(|input| &input.name);
        let names: Vec<&String> = read.chain(program.added.iter().map(|added| &added.name)).collect();
        let place = |column: &CopiedColumn| names.iter().position(|name| **name == column.source);
        let order: Option<Vec<usize>> = columns.iter().map(place).collect();
        let order = order.ok_or_else(|| {
            RunError::transient(format!("{} was altered while its copy was planned", rules.text.table))
        })?;
        Ok(Self { rules, program, order, partial: BytesMut::new() })
    }

    /// The rows that a piece completes, as they are sent.
    pub(super) fn rewrite(&mut self, piece: &[u8]) -> Result<Vec<u8>, RunError> {
        let mut written = Vec::with_capacity(piece.len());
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.partial.is_empty() {
                self.row(&rest[..end], &mut written)?;
            } else {
                self.partial.extend_from_slice(&rest[..end]);
                let line = self.partial.split().freeze();
                self.row(&line, &mut written)?;
            }
            rest = &rest[end + 1..];
        }
        self.partial.extend_from_slice(rest);
        Ok(written)
    }

    fn row(&self, line: &[u8], written: &mut Vec<u8>) -> Result<(), RunError> {
        let mut row: Vec<TupleValue> = line.split(|byte| *byte == b'\t').map(value).collect();
        if row.len() != self.rules.inputs.len() {
            return Err(RunError::transient(format!(
                "a row of {} has other columns than it",
                self.rules.text.table
            )));
        }
        let subject = Subject::New { op: "copy", commit_time: None, old: None };
        let stays = self.program.apply(&mut row, subject).map_err(|trouble| {
            self.log(&row);
            not_transformed(&self.rules.text.table, &trouble)
        })?;
        if stays {
            for (at, column) in self.order.iter().enumerate() {
                if at > 0 {
                    written.push(b'\t');
                }
                write(&row[*column], written);
            }
            written.push(b'\n');
        }
        Ok(())
    }

    /// Which row it is, for this zone alone.
    fn log(&self, row: &[TupleValue]) {
        let key = self.rules.inputs.iter().zip(row).filter(|(input, _)| input.key);
        let key: Vec<String> = key.map(|(input, value)| format!("{} = {value:?}", input.name)).collect();
        tracing::error!(
            table = self.rules.text.table,
            key = key.join(", "),
            "a rule cannot be applied to this row"
        );
    }
}

/// A value as COPY writes it (PostgreSQL, COPY, Text Format).
fn value(field: &[u8]) -> TupleValue {
    if field == b"\\N" {
        return TupleValue::Null;
    }
    if !field.contains(&b'\\') {
        return TupleValue::Text(Bytes::copy_from_slice(field));
    }
    let mut text = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    TupleValue::Text(Bytes::from(text))
}

fn write(value: &TupleValue, written: &mut Vec<u8>) {
    let TupleValue::Text(text) = value else {
        written.extend_from_slice(b"\\N");
        return;
    };
    for byte in text {
        let escaped = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            other => {
                written.push(*other);
                continue;
            }
        };
        written.extend_from_slice(&[b'\\', escaped]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use strait_proto::v1;

    use super::*;
    use crate::transform::{Input, Kind, TransformText};

    fn rules(when: &str, set: &[(&str, &str)], drop: bool) -> CopyRules {
        let set = set.iter().map(|(column, text)| ((*column).to_owned(), (*text).to_owned())).collect();
        let rule = v1::TransformRule { when: when.into(), set, drop };
        let text = TransformText::of(&v1::TableName::new("s", "t"), &[rule], |_| None).unwrap();
        let input = |name: &str, kind| Input {
            name: name.into(),
            kind: Some(kind),
            carried: true,
            key: name == "id",
        };
        CopyRules { text: Arc::new(text), inputs: vec![input("id", Kind::Int), input("name", Kind::Text)] }
    }

    fn columns(names: &[&str]) -> Vec<CopiedColumn> {
        names.iter().map(|it| CopiedColumn { source: (*it).into(), target: (*it).into() }).collect()
    }

    #[test]
    fn rows_are_rewritten_however_they_are_cut() {
        let rules = rules("", &[("name", "row.name + '\\t!'"), ("n", "row.id + 1")], false);
        let text = "1\ta\\tb\n2\t\\N\n3\t\n";
        for cut in 0..text.len() {
            let mut rewriter = Rewriter::new(&rules, &columns(&["name", "n", "id"])).unwrap();
            let mut written = rewriter.rewrite(&text.as_bytes()[..cut]).unwrap();
            written.extend(rewriter.rewrite(&text.as_bytes()[cut..]).unwrap());
            assert_eq!(String::from_utf8(written).unwrap(), "a\\tb\\t!\t2\t1\n\\N\t3\t2\n\\t!\t4\t3\n");
        }
    }

    #[test]
    fn rows_are_left_out_and_troubles_told() {
        let dropping = rules("row.id > 1", &[], true);
        let mut rewriter = Rewriter::new(&dropping, &columns(&["id", "name"])).unwrap();
        assert_eq!(rewriter.rewrite(b"1\ta\n2\tb\n").unwrap(), b"1\ta\n");
        let dividing = rules("", &[("id", "1 / (row.id - 7)")], false);
        let mut rewriter = Rewriter::new(&dividing, &columns(&["id", "name"])).unwrap();
        let failure = rewriter.rewrite(b"7\tsecret\n").unwrap_err().failure();
        assert!(
            failure.definite && failure.cause.contains("rule 1, set.id, line 1, column 3: division by zero")
        );
        assert!(!failure.cause.contains("secret"));
    }

    proptest! {
        #[test]
        fn what_no_rule_touches_stays_byte_by_byte(text in any::<Vec<u8>>()) {
            let mut written = Vec::new();
            let given = TupleValue::Text(Bytes::from(text));
            write(&given, &mut written);
            prop_assert!(!written.contains(&b'\n') && !written.contains(&b'\t'));
            prop_assert_eq!(value(&written), given);
        }
    }
}
