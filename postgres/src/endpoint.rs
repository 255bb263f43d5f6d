//! An agent's configured database: where it is, and where its password comes from.

use std::env;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::{ConnectionUri, Error};

/// `[endpoints.NAME]` of an agent's configuration file.
///
/// The password comes from `password_env` or `password_file` where one is given, else from where libpq takes
/// it: the URI, `PGPASSWORD`, the password file. It never leaves the agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// A connection URI; a task may name another database of the same server.
    pub uri: String,
    /// The environment variable that holds the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// The file that holds the password; a line end after it does not count.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

impl EndpointConfig {
    /// The URI to connect with, password included. An empty `database` means the URI's own.
    ///
    /// Variable and file are read at every call, so that a rotated password counts from the next connection
    /// on.
    pub fn resolve(&self, database: &str) -> Result<ConnectionUri, Error> {
        let mut uri: ConnectionUri = self.uri.parse()?;
        if !database.is_empty() {
            uri = uri.with_database(database);
        }
        Ok(match self.password()? {
            Some(password) => uri.with_password(password),
            None => uri,
        })
    }

    fn password(&self) -> Result<Option<String>, Error> {
        match (&self.password_env, &self.password_file) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                Err(Error::Config("password_env and password_file are both set; give one of them".to_owned()))
            }
            (Some(name), None) => match env::var(name) {
                Ok(password) => Ok(Some(password)),
                Err(env::VarError::NotPresent) => {
                    Err(Error::Config(format!("password_env: the variable {name} is not set")))
                }
                // The error itself would quote the value.
                Err(env::VarError::NotUnicode(_)) => {
                    Err(Error::Config(format!("password_env: the variable {name} is not UTF-8")))
                }
            },
            (None, Some(path)) => match fs::read_to_string(path) {
                Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => Err(Error::Config(format!("password_file: read {}: {error}", path.display()))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(password_env: Option<&str>, password_file: Option<&str>) -> EndpointConfig {
        EndpointConfig {
            uri: "postgres://u:own@h/d".to_owned(),
            password_env: password_env.map(str::to_owned),
            password_file: password_file.map(PathBuf::from),
        }
    }

    #[test]
    fn the_task_may_name_another_database() {
        assert_eq!(endpoint(None, None).resolve("").unwrap().database(), "d");
        assert_eq!(endpoint(None, None).resolve("other").unwrap().database(), "other");
    }

    #[test]
    fn the_password_comes_from_the_place_that_is_named() {
        let path = env::temp_dir().join(format!("strait-endpoint-{}", std::process::id()));
        fs::write(&path, "from file\n").unwrap();
        let from_file = endpoint(None, path.to_str()).resolve("").unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(from_file.password.as_deref(), Some("from file"));
        assert_eq!(endpoint(None, None).resolve("").unwrap().password.as_deref(), Some("own"));
        assert_eq!(
            endpoint(Some("CARGO_PKG_NAME"), None).resolve("").unwrap().password.as_deref(),
            Some("strait-postgres")
        );
    }

    #[test]
    fn a_password_that_is_not_there_is_an_error_that_names_the_place() {
        for (password_env, password_file, words) in [
            (Some("STRAIT_NO_SUCH"), None, "STRAIT_NO_SUCH"),
            (None, Some("/no/such/file"), "/no/such/file"),
            (Some("A"), Some("b"), "both"),
        ] {
            let error = endpoint(password_env, password_file).resolve("").unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
