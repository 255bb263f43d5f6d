//! Sets of rows for the Greenplum family: copied into a temporary table that is distributed like their target, and applied from
//! there by statements that move nothing between segments.
//!
//! Single rows are slow there, and so are long arrays of parameters: they are unpacked on the coordinator.

use bytes::Bytes;
use strait_proto::v1::TableName;

use super::lanes::Fnv;
use super::sql::{COUNT, NUMBER};
use super::target::{Distribution, Target};

/// Rows, and what is done with them.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) table: TableName,
    /// What has to stand, empty, before the rows come.
    pub(crate) temporary: Vec<TemporaryTable>,
    /// Brings the rows into the first of them.
    pub(crate) copy: String,
    /// In COPY's text format.
    pub(crate) rows: Vec<Bytes>,
    /// Each with how many rows it has to affect, where that is known: fewer mean that some are missing.
    pub(crate) statements: Vec<(String, Option<u64>)>,
}

/// A temporary table of a session. Its name says what it is like, so that it serves whoever needs the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemporaryTable {
    /// Quoted and qualified.
    pub(crate) name: String,
    /// Its columns and clauses.
    definition: String,
}

impl TemporaryTable {
    /// For rows with values for `columns`, of the target's types; with counts where the rows are not distinct. They lie where
    /// the target's rows do whose values the first `found_by` of them are.
    pub(crate) fn stage(target: &Target, columns: &[usize], found_by: usize, counted: bool) -> Self {
        let counts = if counted { format!(", {COUNT} bigint, {NUMBER} bigint") } else { String::new() };
        Self::of(target, columns, &columns[..found_by], &counts)
    }

    /// For whole rows of the target, with what they become.
    pub(crate) fn kept(target: &Target, columns: &[usize]) -> Self {
        Self::of(target, columns, columns, "")
    }

    fn of(target: &Target, columns: &[usize], found_by: &[usize], further: &str) -> Self {
        let typed = columns.iter().zip(1..).map(|(column, number)| {
            let sql_type = &target.columns[*column].sql_type;
            format!("c{number} {sql_type}")
        });
        let typed: Vec<String> = typed.collect();
        let definition = format!(
            "({}{further}) USING heap ON COMMIT PRESERVE ROWS {}",
            typed.join(", "),
            distributed_like(target, found_by)
        );
        let mut hash = Fnv::default();
        hash.part(definition.as_bytes());
        Self { name: format!("pg_temp.strait_{:016x}", hash.finish()), definition }
    }

    /// Makes it, or empties it.
    pub(crate) fn create(&self) -> String {
        let Self { name, definition } = self;
        format!("CREATE TEMPORARY TABLE IF NOT EXISTS {name} {definition}; TRUNCATE {name}")
    }
}

fn distributed_like(target: &Target, found_by: &[usize]) -> String {
    let number = |column: &usize| found_by.iter().position(|candidate| candidate == column);
    match &target.distribution {
        Some(Distribution::Replicated) => return "DISTRIBUTED REPLICATED".to_owned(),
        Some(Distribution::Key(key)) => {
            if let Some(numbers) = key.iter().map(number).collect::<Option<Vec<usize>>>() {
                let names: Vec<String> = numbers.iter().map(|number| format!("c{}", number + 1)).collect();
                return format!("DISTRIBUTED BY ({})", names.join(", "));
            }
        }
        Some(Distribution::Random) | None => {}
    }
    "DISTRIBUTED RANDOMLY".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::{column, target};
    use super::*;

    fn distributed_by(key: Distribution) -> Target {
        let mut target = target(&[column("id", "integer"), column("region", "text"), column("at", "date")]);
        target.distribution = Some(key);
        target
    }

    #[test]
    fn a_stage_lies_where_its_rows_are_found() {
        let by_region = distributed_by(Distribution::Key(vec![1]));
        for (target, columns, found_by, counted, definition) in [
            (
                &by_region,
                &[0, 1][..],
                2,
                false,
                "(c1 integer, c2 text) USING heap ON COMMIT PRESERVE ROWS DISTRIBUTED BY (c2)",
            ),
            (
                &by_region,
                &[0, 1],
                1,
                false,
                "(c1 integer, c2 text) USING heap ON COMMIT PRESERVE ROWS DISTRIBUTED RANDOMLY",
            ),
            (
                &distributed_by(Distribution::Replicated),
                &[2],
                1,
                true,
                "(c1 date, n bigint, i bigint) USING heap ON COMMIT PRESERVE ROWS DISTRIBUTED REPLICATED",
            ),
        ] {
            let stage = TemporaryTable::stage(target, columns, found_by, counted);
            assert_eq!(stage.definition, definition);
        }
        let (one, other) =
            (TemporaryTable::kept(&by_region, &[0]), TemporaryTable::kept(&by_region, &[0, 1]));
        assert_ne!(one.name, other.name);
        assert_eq!(one, TemporaryTable::kept(&by_region, &[0]));
    }
}
