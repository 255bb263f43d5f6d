//! The structured part of a configuration file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Value;

use super::error::{ConfigError, Problem};

/// The tables of the file that the program named; empty without a file.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    file: Option<PathBuf>,
    tables: toml::Table,
}

impl Tables {
    pub(super) fn new(file: Option<PathBuf>, tables: toml::Table) -> Self {
        Self { file, tables }
    }

    /// The file that they come from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The tables as they were read.
    #[must_use]
    pub fn as_toml(&self) -> &toml::Table {
        &self.tables
    }

    /// The entries of a table of tables, `[endpoints.orders]` and so on, by name; none where the file has no
    /// such table.
    ///
    /// # Errors
    /// Whatever is wrong with any of the entries.
    pub fn entries<V: DeserializeOwned>(&self, table: &str) -> Result<BTreeMap<String, V>, ConfigError> {
        let entries = match self.tables.get(table) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Table(entries)) => entries,
            Some(other) => {
                let message =
                    format!("must be a table, like [{table}.NAME], not of type {}", other.type_str());
                return Err(self.error(vec![Problem::new(table, message)]));
            }
        };
        let (mut read, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, value) in entries {
            match entry(table, name, value) {
                Ok(entry) => drop(read.insert(name.clone(), entry)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(read) } else { Err(self.error(problems)) }
    }

    fn error(&self, problems: Vec<Problem>) -> ConfigError {
        ConfigError::Invalid { file: self.file.clone(), problems }
    }
}

fn entry<V: DeserializeOwned>(table: &str, name: &str, value: &Value) -> Result<V, Problem> {
    let field = format!("{table}.{name}");
    if !value.is_table() {
        let message = format!("must be a table, like [{field}], not of type {}", value.type_str());
        return Err(Problem::new(field, message));
    }
    value.clone().try_into().map_err(|error: toml::de::Error| {
        let said = error.to_string();
        let said = said.trim().replace('\n', " ");
        Problem::new(field, format!("is wrong: {}", without_value(&said)))
    })
}

/// Serde quotes a string of the wrong type; in a table of endpoints that string may hold a password.
fn without_value(message: &str) -> String {
    const QUOTED: &str = "string \"";
    match (message.find(QUOTED), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start + QUOTED.len() <= end => {
            format!("{}string{}", &message[..start], &message[end + 1..])
        }
        _ => message.to_owned(),
    }
}
