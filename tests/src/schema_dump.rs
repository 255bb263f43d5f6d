//! The schema of a database as `pg_dump` prints it: the independent oracle for what Strait creates.
//!
//! What makes a partitioned table of a table is taken out of the statements, and so are replica identities, which belong
//! to replication and not to the schema.

use std::collections::BTreeMap;

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
    /// Runs `pg_dump`, which must be as new as the server. Schemas matching `exclude` are left out.
    pub async fn of(database: &Database, exclude: &[&str]) -> Result<Self> {
        let mut command = Command::new(client_program("pg_dump")?);
        command.args(["--schema-only", "--no-owner", "--no-privileges", "--no-publications"]);
        command.args(exclude.iter().map(|schema| format!("--exclude-schema={schema}")));
        let output = command.arg(database.uri()).output().await.context("run pg_dump")?;
        if !output.status.success() {
            bail!("pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self(parse(&String::from_utf8(output.stdout)?)))
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

    /// Fails with every object that is missing, unexpected or different at the destination.
    pub fn assert_same(&self, destination: &Self) -> Result<()> {
        let mut report = String::new();
        for (name, wanted) in &self.0 {
            match destination.0.get(name) {
                None => report.push_str(&format!("missing: {name}\n{wanted}\n\n")),
                Some(found) if found != wanted => {
                    report.push_str(&format!(
                        "different: {name}\nsource:\n{wanted}\ndestination:\n{found}\n\n"
                    ));
                }
                Some(_) => {}
            }
        }
        for (name, found) in destination.0.iter().filter(|(name, _)| !self.0.contains_key(*name)) {
            report.push_str(&format!("unexpected: {name}\n{found}\n\n"));
        }
        ensure!(report.is_empty(), "the schemas differ:\n{report}");
        Ok(())
    }
}

/// Splits a dump at its headers, `-- Name: orders; Type: TABLE; Schema: sales; Owner: -`.
fn parse(dump: &str) -> BTreeMap<String, String> {
    let mut objects = BTreeMap::<String, String>::new();
    let mut current = None;
    for line in dump.lines() {
        if let Some(header) = line.strip_prefix("-- Name: ") {
            current = carried_name(header);
            continue;
        }
        let noise =
            line.is_empty() || line.starts_with("--") || line.starts_with("SET ") || line.starts_with('\\');
        if let Some(name) = &current
            && !noise
            && !line.contains(" REPLICA IDENTITY ")
        {
            let statements = objects.entry(String::clone(name)).or_default();
            statements.push_str(&flattened(line));
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

fn carried_name(header: &str) -> Option<String> {
    let (name, rest) = header.split_once("; Type: ")?;
    let (kind, rest) = rest.split_once("; Schema: ")?;
    let (schema, _) = rest.split_once("; Owner:")?;
    CARRIED.contains(&kind).then(|| format!("{kind} {schema}.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_carried_objects_and_drops_the_rest() {
        let dump = "SET x = 1;\n--\n-- Name: a; Type: TABLE; Schema: s; Owner: -\n--\n\nCREATE TABLE s.a (\n    i integer\n);\n\n\n\
                    --\n-- Name: v; Type: EVENT TRIGGER; Schema: s; Owner: -\n--\n\nCREATE EVENT TRIGGER v;\n";
        let wanted =
            BTreeMap::from([("TABLE s.a".into(), "CREATE TABLE s.a (\n    i integer\n)\n;\n".into())]);
        assert_eq!(parse(dump), wanted);
    }
}
