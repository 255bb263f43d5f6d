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
        // A part stands behind its table: `s.t its_name`; a comment's object behind the word for its kind: `s.TABLE t`.
        let dotted = name.replace(' ', ".");
        self.names.contains(name)
            || self.names.contains(&dotted)
            || name
                .char_indices()
                .filter(|(_, it)| matches!(it, ' ' | '.'))
                .any(|(end, _)| self.tables.contains(&name[..end]))
            || self.tables.contains(name)
    }
}

/// Fails with every difference between the schemas that Strait has not told of and `known` does not allow for.
pub async fn assert_same_schema(
    source: &Database,
    destination: &Database,
    objects: &[ObjectResult],
    known: impl Fn(&Difference) -> bool,
) -> Result<()> {
    let (wanted, found) =
        (SchemaDump::whole(source, &["strait"]).await?, SchemaDump::whole(destination, &["strait"]).await?);
    let told = Told::of(objects);
    let differences = wanted.differences(&found);
    let untold: Vec<&Difference> = differences.iter().filter(|it| !told.covers(it) && !known(it)).collect();
    let report: String = untold.iter().map(ToString::to_string).collect();
    ensure!(
        untold.is_empty(),
        "{} of {} objects differ, and nothing was said of them:\n{report}",
        untold.len(),
        wanted.len()
    );
    Ok(())
}
