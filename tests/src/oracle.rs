//! Compares what Strait made with what `pg_dump` says of both sides: nothing may be missing that was not told of.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use strait_proto::v1::{ObjectOutcome, ObjectResult};

use crate::database::Database;
use crate::schema_dump::{Difference, SchemaDump};

/// What Strait said of a schema, in the words of the dump.
#[derive(Debug)]
pub struct Told {
    /// `schema.name`, the parts of an object after a dot, of what was skipped or has failed.
    names: HashSet<String>,
    /// The same for tables as a whole.
    tables: HashSet<String>,
}

impl Told {
    /// Of the results of a task.
    pub fn of(objects: &[ObjectResult]) -> Self {
        let told = || {
            objects.iter().filter(|object| {
                matches!(object.outcome(), ObjectOutcome::Skipped | ObjectOutcome::Failed)
                    || object.outcome() == ObjectOutcome::Created && !object.detail.is_empty()
            })
        };
        let name = |object: &ObjectResult| format!("{}.{}", object.schema, object.name);
        let tables = told().filter(|object| object.object_kind.ends_with("table")).map(name).collect();
        Self { names: told().map(name).collect(), tables }
    }

    /// Whether the object itself, what it is a part of, or what it stands for in the dump was told of.
    fn covers(&self, difference: &Difference) -> bool {
        let name = difference.object[difference.kind().len()..].trim_start();
        // What belongs to no schema has a dash there.
        let name = name.strip_prefix('-').unwrap_or(name);
        // A part stands behind its table: `s.t its_name`.
        let dotted = name.replace(' ', ".");
        let of_table = |end: usize| self.tables.contains(&name[..end]);
        self.names.contains(name)
            || self.names.contains(&dotted)
            || of_table(name.len())
            || name.char_indices().any(|(end, it)| matches!(it, ' ' | '.') && of_table(end))
            || self.covers_in_other_words(difference, name)
    }

    /// The dump names some kinds in its own way.
    fn covers_in_other_words(&self, difference: &Difference, name: &str) -> bool {
        let without = |word: &str| name.replacen(word, "", 1);
        let told_begins = |beginning: String| self.names.iter().any(|told| told.starts_with(&beginning));
        match difference.kind() {
            // `.CAST (a AS b)`
            "CAST" => self.names.contains(&without("CAST (").replace(')', "")),
            // Without its arguments: one told of is enough.
            "OPERATOR" => told_begins(format!("{name}(")),
            // With the types of its arguments alone.
            "FUNCTION" | "PROCEDURE" | "AGGREGATE" => {
                told_begins(name.split_inclusive('(').next().unwrap_or_default().to_owned())
            }
            "TRANSFORM" => self.names.contains(&without("TRANSFORM ")),
            // A part of it is missing.
            "TABLE" => difference.found.is_some() && told_begins(format!("{name}.")),
            // Without its table.
            "INDEX" => {
                let (schema, index) = name.split_once('.').unwrap_or_default();
                let by_name = |told: &&String| {
                    told.starts_with(&format!("{schema}.")) && told.ends_with(&format!(".{index}"))
                };
                let sql = difference.wanted.as_deref().unwrap_or_default();
                self.names.iter().any(|told| by_name(&told))
                    || self.tables.iter().any(|table| sql.contains(&format!(" ON {table} ")))
            }
            // `s.TABLE t`, `s.CONSTRAINT c ON DOMAIN d`
            "COMMENT" => {
                let (schema, object) = name.split_once('.').unwrap_or_default();
                let words: Vec<&str> = object.split(' ').collect();
                self.names.iter().any(|told| match words[..] {
                    [_, part, "ON", .., owner] => *told == format!("{schema}.{owner}.{part}"),
                    [.., object] => *told == format!("{schema}.{object}"),
                    [] => false,
                })
            }
            // `s.itest17_a_seq` goes with table itest17.
            "SEQUENCE" | "SEQUENCE OWNED BY" => self
                .tables
                .iter()
                .any(|table| name.starts_with(&format!("{table}_")) && name.ends_with("_seq")),
            _ => false,
        }
    }
}

/// Fails with every difference between the schemas that Strait has not told of and `known` does not allow for. Partitions, which
/// are flattened, and what they alone have do not count; nor do the tables that the task leaves out, `schema.table`.
pub async fn assert_same_schema(
    source: &Database,
    destination: &Database,
    objects: &[ObjectResult],
    left_out: &[&str],
    known: impl Fn(&Difference) -> bool,
) -> Result<()> {
    let wanted = SchemaDump::whole(source, &["strait"]).await?;
    let found = SchemaDump::whole(destination, &["strait"]).await?;
    let mut told = Told::of(objects);
    told.tables.extend(source.rows(PARTITIONS).await?);
    told.tables.extend(left_out.iter().map(|&table| table.to_owned()));
    let differences = wanted.differences(&found);
    let untold: Vec<&Difference> =
        differences.iter().filter(|it| !told.covers(it) && !is_flattening(it) && !known(it)).collect();
    let report: String = untold.iter().map(ToString::to_string).collect();
    ensure!(
        untold.is_empty(),
        "{} of {} objects differ, and nothing was said of them:\n{report}",
        untold.len(),
        wanted.len()
    );
    Ok(())
}

/// Partitions and the parts of partitioned indexes.
const PARTITIONS: &str = "
    SELECT n.nspname || '.' || c.relname
    FROM pg_class AS c
         JOIN pg_namespace AS n
           ON n.oid = c.relnamespace
    WHERE c.relispartition";

fn is_flattening(difference: &Difference) -> bool {
    matches!(difference.kind(), "TABLE ATTACH" | "INDEX ATTACH")
}
