//! Operators' tokens: a name and a hash each.

use rusqlite::params;

use super::{Store, StoreError};

/// SHA-256 of a token. Tokens are random and long, so nothing slower is needed.
pub(crate) type TokenHash = [u8; 32];

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredToken {
    pub(crate) name: String,
    pub(crate) hash: TokenHash,
    pub(crate) created_at_us: i64,
}

impl Store {
    /// Keeps a token. False where its name is taken.
    pub(crate) async fn add_token(&self, token: StoredToken) -> Result<bool, StoreError> {
        self.call("add a token", move |connection| {
            let added = connection.execute(
                "INSERT OR IGNORE INTO api_token (name, hash, created_at_us) VALUES (?1, ?2, ?3)",
                params![token.name, token.hash, token.created_at_us],
            )?;
            Ok(added == 1)
        })
        .await
    }

    /// Forgets a token. False where there is none of this name.
    pub(crate) async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.call("remove a token", move |connection| {
            Ok(connection.execute("DELETE FROM api_token WHERE name = ?1", params![name])? == 1)
        })
        .await
    }

    /// All of them, by name.
    pub(crate) async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        self.call("read the tokens", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, hash, created_at_us FROM api_token ORDER BY name")?;
            let rows = statement.query_map([], |row| {
                Ok(StoredToken { name: row.get(0)?, hash: row.get(1)?, created_at_us: row.get(2)? })
            })?;
            rows.collect()
        })
        .await
    }
}
