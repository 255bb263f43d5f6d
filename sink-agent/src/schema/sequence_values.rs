//! Sets sequences to where they stand at the source, never backwards: what the destination handed out stays
//! handed out.

use std::collections::HashMap;

use strait_postgres::catalog::{SequenceReference, read_sequences};
use strait_postgres::{Client, Error};
use strait_proto::v1;

/// Which of the named sequences are there, as positions in the arrays.
const PRESENT_SQL: &str = "
SELECT wanted.position
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (schema, name, position)
     JOIN pg_namespace AS n
       ON n.nspname = wanted.schema
     JOIN pg_class AS c
       ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'S'
ORDER BY wanted.position";

const SET_SQL: &str = "
SELECT setval(format('%I.%I', s.schema, s.name)::regclass, s.last_value, s.is_called)
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[]) AS s (schema, name, last_value, is_called)";

/// Moves each sequence to the given position unless it stands there or further on already, in its own
/// direction.
///
/// A sequence that is not there could not be created, which its result said; it is logged and passed over. A
/// sequence that began again from its other end (CYCLE) counts as behind and is left alone.
pub(crate) async fn set_sequences(client: &Client, values: &[v1::SequenceValue]) -> Result<(), Error> {
    let wanted: Vec<Wanted<'_>> = values
        .iter()
        .filter_map(|value| value.sequence.as_ref().map(|name| Wanted { name, value }))
        .collect();
    let present = present(client, &wanted).await?;
    let references: Vec<_> = present
        .iter()
        .map(|it| SequenceReference { name: it.name.clone(), increment: it.value.increment })
        .collect();
    let current = read_sequences(client, &references).await?;

    let behind: Vec<_> = present
        .iter()
        .zip(&current)
        .filter(|(it, current)| is_ahead(it.value, current))
        .map(|(it, _)| it)
        .collect();
    if behind.is_empty() {
        return Ok(());
    }
    let schemas: Vec<&str> = behind.iter().map(|it| &*it.name.schema).collect();
    let names: Vec<&str> = behind.iter().map(|it| &*it.name.name).collect();
    let last_values: Vec<i64> = behind.iter().map(|it| it.value.last_value).collect();
    let are_called: Vec<bool> = behind.iter().map(|it| it.value.is_called).collect();
    client.query(SET_SQL, &[&schemas, &names, &last_values, &are_called]).await?;
    Ok(())
}

struct Wanted<'a> {
    name: &'a v1::TableName,
    value: &'a v1::SequenceValue,
}

async fn present<'a>(client: &Client, wanted: &'a [Wanted<'a>]) -> Result<Vec<&'a Wanted<'a>>, Error> {
    let schemas: Vec<&str> = wanted.iter().map(|it| &*it.name.schema).collect();
    let names: Vec<&str> = wanted.iter().map(|it| &*it.name.name).collect();
    let mut absent: HashMap<usize, &Wanted<'_>> = wanted.iter().enumerate().collect();
    let mut present = Vec::with_capacity(wanted.len());
    for row in client.query(PRESENT_SQL, &[&schemas, &names]).await? {
        // WITH ORDINALITY counts from 1.
        let position = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default().wrapping_sub(1);
        present.extend(absent.remove(&position));
    }
    for it in absent.values() {
        tracing::warn!(sequence = %it.name, "no such sequence at the destination: its position is not set");
    }
    Ok(present)
}

/// Whether `value` hands out a later number next than `current` does.
fn is_ahead(value: &v1::SequenceValue, current: &v1::SequenceValue) -> bool {
    let next = |it: &v1::SequenceValue| {
        let step = if it.is_called { i128::from(value.increment) } else { 0 };
        i128::from(it.last_value) + step
    };
    if value.increment < 0 { next(value) < next(current) } else { next(value) > next(current) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_moves_in_its_own_direction_only() {
        for (increment, (value, called), (current, current_called), expected) in [
            (1, (10, true), (5, true), true),
            (1, (5, true), (10, true), false),
            (1, (5, true), (5, true), false),
            (1, (1, true), (1, false), true),
            (1, (1, false), (1, true), false),
            // Both hand out 6 next.
            (1, (6, false), (5, true), false),
            (10, (11, true), (20, false), true),
            (-1, (-10, true), (-5, true), true),
            (-1, (-5, true), (-10, true), false),
            (1, (i64::MAX, true), (i64::MAX, false), true),
            (-1, (i64::MIN, true), (i64::MIN, true), false),
        ] {
            let at = |last_value, is_called| v1::SequenceValue {
                last_value,
                is_called,
                increment,
                sequence: None,
            };
            let case = format!("{increment}: {value} {called} over {current} {current_called}");
            assert_eq!(is_ahead(&at(value, called), &at(current, current_called)), expected, "{case}");
        }
    }
}
