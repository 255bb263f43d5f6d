//! The schema of a database as `pg_dump` prints it: the independent oracle for what Strait creates.
//!
//! Replica identities are taken out, which belong to replication and not to the schema; and so is what makes a partitioned
//! table of a table, unless it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::database::Database;
use crate::version::client_program;

/// `pg_dump`'s own words for the kinds of objects that Strait carries.
const CARRIED: [&str; 29] = [
    "SCHEMA",
    "TYPE",
    "DOMAIN",
    "TABLE",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "DEFAULT",
    "CONSTRAINT",
    "FK CONSTRAINT",
    "CHECK CONSTRAINT",
    "INDEX",
    "VIEW",
    "MATERIALIZED VIEW",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "CAST",
    "COLLATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH CONFIGURATION",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "COMMENT",
];

/// The carried objects of a database: `KIND schema.name` → statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDump(BTreeMap<String, String>);

impl SchemaDump {
    /// Of `pg_dump`, which must be as new as the server. Schemas matching `exclude` are left out.
    pub async fn of(database: &Database, exclude: &[&str]) -> Result<Self> {
        let tables = Self::whole(database, exclude).await?;
        Ok(tables.filter(|object| CARRIED.iter().any(|kind| kind_of(object) == *kind)))
    }

    /// The carried objects with what makes tables partitioned.
    pub async fn with_partitions(database: &Database, exclude: &[&str]) -> Result<Self> {
        let tables = Self(parse(&dump(database, exclude).await?, str::to_owned));
        let kinds = CARRIED.iter().chain(&["TABLE ATTACH", "INDEX ATTACH"]);
        Ok(tables.filter(|object| kinds.clone().any(|kind| kind_of(object) == *kind)))
    }

    /// The same with objects of every kind, comments included; owners, grants, publications and subscriptions are not there.
    pub async fn whole(database: &Database, exclude: &[&str]) -> Result<Self> {
        Ok(Self(parse(&dump(database, exclude).await?, flattened)))
    }

    /// Leaves out every object whose `KIND schema.name` `keep` refuses: what is known not to be carried alike.
    #[must_use]
    pub fn filter(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|name, _| keep(name));
        self
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every object that is missing, unexpected or different at the destination.
    pub fn differences(&self, destination: &Self) -> Vec<Difference> {
        let names: BTreeSet<&String> = self.0.keys().chain(destination.0.keys()).collect();
        let difference = |name: &String| Difference {
            object: name.clone(),
            wanted: self.0.get(name).cloned(),
            found: destination.0.get(name).cloned(),
        };
        names.into_iter().map(difference).filter(|it| it.wanted != it.found).collect()
    }

    /// Fails with every object that is missing, unexpected or different at the destination.
    pub fn assert_same(&self, destination: &Self) -> Result<()> {
        let report: String = self.differences(destination).iter().map(ToString::to_string).collect();
        ensure!(report.is_empty(), "the schemas differ:\n{report}");
        Ok(())
    }
}

/// An object that is not the same on both sides.
#[derive(Clone, Debug)]
pub struct Difference {
    /// `KIND schema.name`.
    pub object: String,
    /// The source's statements.
    pub wanted: Option<String>,
    /// The destination's.
    pub found: Option<String>,
}

impl Difference {
    /// `pg_dump`'s word for the object's kind.
    pub fn kind(&self) -> &str {
        kind_of(&self.object)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match (&self.wanted, &self.found) {
            (Some(wanted), Some(found)) => {
                writeln!(f, "different: {object}\nsource:\n{wanted}\ndestination:\n{found}\n")
            }
            (Some(wanted), None) => writeln!(f, "missing: {object}\n{wanted}\n"),
            (None, found) => writeln!(f, "unexpected: {object}\n{}\n", found.as_deref().unwrap_or_default()),
        }
    }
}

async fn dump(database: &Database, exclude: &[&str]) -> Result<String> {
    let mut command = Command::new(client_program("pg_dump")?);
    command.args([
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--no-publications",
        "--no-subscriptions",
        "--no-tablespaces",
        "--no-table-access-method",
    ]);
    command.args(exclude.iter().map(|schema| format!("--exclude-schema={schema}")));
    let output = command.arg(database.uri()).output().await.context("run pg_dump")?;
    if !output.status.success() {
        bail!("pg_dump: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Splits a dump at its headers, `-- Name: orders; Type: TABLE; Schema: sales; Owner: -`; `written` is what is kept of a
/// line.
fn parse(dump: &str, written: fn(&str) -> String) -> BTreeMap<String, String> {
    let mut objects = BTreeMap::<String, String>::new();
    let mut current = None;
    for line in dump.lines() {
        if let Some(header) = line.strip_prefix("-- Name: ") {
            current = object_name(header);
            continue;
        }
        let noise =
            line.is_empty() || line.starts_with("--") || line.starts_with("SET ") || line.starts_with('\\');
        if let Some(name) = &current
            && !noise
            && !line.contains(" REPLICA IDENTITY ")
        {
            let statements = objects.entry(String::clone(name)).or_default();
            statements.push_str(&written(line));
            statements.push('\n');
        }
    }
    objects
}

/// The line as it stands where the table has no partitions.
fn flattened(line: &str) -> String {
    if line.starts_with("PARTITION BY ") {
        return ";".to_owned();
    }
    let line = if line == ");" { ")\n;" } else { line };
    line.replace("ALTER TABLE ONLY ", "ALTER TABLE ").replace(" ON ONLY ", " ON ")
}

fn object_name(header: &str) -> Option<String> {
    let (name, rest) = header.split_once("; Type: ")?;
    let (kind, rest) = rest.split_once("; Schema: ")?;
    let (schema, _) = rest.split_once("; Owner:")?;
    Some(format!("{kind} {schema}.{name}"))
}

/// `CHECK CONSTRAINT` of `CHECK CONSTRAINT s.t its_name`: what is written in capitals in front.
fn kind_of(object: &str) -> &str {
    let mut end = 0;
    for word in object.split_inclusive(' ') {
        if !word.trim_end().chars().all(|it| it.is_ascii_uppercase()) {
            break;
        }
        end += word.len();
    }
    object[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_its_statements() {
        let dump = "SET x = 1;\n--\n-- Name: a; Type: TABLE; Schema: s; Owner: -\n--\n\nCREATE TABLE s.a (\n    i integer\n);\n\n\n\
                    --\n-- Name: v; Type: VIEW; Schema: s; Owner: -\n--\n\nCREATE VIEW s.v AS SELECT 1;\n";
        let wanted = BTreeMap::from([
            ("TABLE s.a".into(), "CREATE TABLE s.a (\n    i integer\n)\n;\n".into()),
            ("VIEW s.v".into(), "CREATE VIEW s.v AS SELECT 1;\n".into()),
        ]);
        assert_eq!(parse(dump, flattened), wanted);
    }

    #[test]
    fn the_kind_is_what_stands_in_front_in_capitals() {
        assert_eq!(kind_of("CHECK CONSTRAINT S.T A"), "CHECK CONSTRAINT");
        assert_eq!(kind_of("SCHEMA -.S"), "SCHEMA");
        assert_eq!(kind_of("SEQUENCE OWNED BY s.t_id_seq"), "SEQUENCE OWNED BY");
    }
}
