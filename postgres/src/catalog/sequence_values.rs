//! Where sequences stand.
//!
//! `pg_sequences` hides the position of a sequence that was never called, although `setval` may have moved
//! it; so each sequence's own row is read, many of them in one statement. Sequences are not transactional:
//! what is read is the position of this moment, which a crash of the server may put up to 32 values ahead of
//! what was handed out.

use strait_proto::v1;

use crate::{Client, Error, quote};

/// Sequences read by one statement; each takes a lock of the server for its length.
const BATCH_SEQUENCES: usize = 200;

/// A sequence whose position is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceReference {
    /// Its exact name.
    pub name: v1::TableName,
    /// Its increment; negative for a descending sequence.
    pub increment: i64,
}

impl SequenceReference {
    /// Every sequence of a model: those of identity columns too.
    pub fn all(model: &v1::SchemaModel) -> Vec<Self> {
        let reference = |schema: &str, name: &str, options: Option<&v1::SequenceOptions>| Self {
            name: v1::TableName::new(schema, name),
            increment: options.map_or(1, |options| options.increment),
        };
        let plain = model.sequences.iter().map(|it| reference(&it.schema, &it.name, it.options.as_ref()));
        let columns = model.tables.iter().flat_map(|table| &table.columns);
        let identity = columns
            .filter_map(|column| column.identity.as_ref())
            .map(|it| reference(&it.sequence_schema, &it.sequence_name, it.options.as_ref()));
        plain.chain(identity).collect()
    }
}

/// The positions of all sequences of the model at the server of `client`, those of identity columns included.
///
/// An error if one of them is not there or may not be read.
pub async fn sequence_values(
    client: &Client,
    model: &v1::SchemaModel,
) -> Result<Vec<v1::SequenceValue>, Error> {
    read_sequences(client, &SequenceReference::all(model)).await
}

/// The positions of the named sequences, in their order. An error if one of them is not there or may not be
/// read.
pub async fn read_sequences(
    client: &Client,
    sequences: &[SequenceReference],
) -> Result<Vec<v1::SequenceValue>, Error> {
    let mut values = Vec::with_capacity(sequences.len());
    for batch in sequences.chunks(BATCH_SEQUENCES) {
        for row in client.query(&select(batch), &[]).await? {
            let position: i32 = row.try_get("position")?;
            // The position is the index that `select` wrote.
            let Some(sequence) = usize::try_from(position).ok().and_then(|at| batch.get(at)) else {
                continue;
            };
            values.push(v1::SequenceValue {
                sequence: Some(sequence.name.clone()),
                last_value: row.try_get("last_value")?,
                is_called: row.try_get("is_called")?,
                increment: sequence.increment,
            });
        }
    }
    Ok(values)
}

/// One row per sequence of the batch.
fn select(batch: &[SequenceReference]) -> String {
    let each = batch.iter().enumerate().map(|(position, sequence)| {
        let name = quote::qualified(&sequence.name.schema, &sequence.name.name);
        format!("SELECT {position}::int AS position, last_value, is_called FROM {name}")
    });
    format!("{} ORDER BY position", each.collect::<Vec<_>>().join("\nUNION ALL "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_sequences_are_among_all() {
        let options = |increment| Some(v1::SequenceOptions { increment, ..Default::default() });
        let identity = v1::IdentityColumn {
            sequence_schema: "s".into(),
            sequence_name: "t_id_seq".into(),
            options: options(-2),
            ..Default::default()
        };
        let column = v1::Column { identity: Some(identity), ..Default::default() };
        let model = v1::SchemaModel {
            sequences: vec![v1::Sequence {
                schema: "s".into(),
                name: "Numbers".into(),
                options: options(5),
                ..Default::default()
            }],
            tables: vec![v1::Table { columns: vec![v1::Column::default(), column], ..Default::default() }],
            ..Default::default()
        };
        let expected = [("Numbers", 5), ("t_id_seq", -2)];
        let expected: Vec<_> = expected
            .map(|(name, increment)| SequenceReference { name: v1::TableName::new("s", name), increment })
            .into();
        assert_eq!(SequenceReference::all(&model), expected);
    }
}
