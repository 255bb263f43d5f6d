//! Operators' tokens: made, looked up at each call, revoked. A token itself is kept nowhere.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

use sha2::{Digest as _, Sha256};

use crate::clock::now_us;
use crate::error::RequestError;
use crate::store::{Store, StoreError, StoredToken, TokenHash};

/// Tells what leaked where one is found.
const PREFIX: &str = "strait_";
/// Enough that it cannot be guessed.
const TOKEN_BYTES: usize = 32;
const NAME_BYTES_MAX: usize = 128;
/// How many there may be.
const TOKENS_MAX: usize = 10_000;

/// The tokens that count.
pub(crate) struct Tokens {
    store: Store,
    names: RwLock<HashMap<TokenHash, String>>,
}

impl Tokens {
    /// Those of the store.
    pub(crate) async fn load(store: Store) -> Result<Self, StoreError> {
        let names = store.tokens().await?.into_iter().map(|token| (token.hash, token.name)).collect();
        Ok(Self { store, names: RwLock::new(names) })
    }

    /// Makes one and returns it, which nothing will ever again.
    pub(crate) async fn create(&self, name: &str) -> Result<(StoredToken, String), RequestError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
            return Err(RequestError::invalid("name", "has to be 1 to 128 letters, digits and any of . _ -"));
        }
        if self.names.read().unwrap_or_else(PoisonError::into_inner).len() >= TOKENS_MAX {
            return Err(RequestError::TooMany { what: "tokens", limit: TOKENS_MAX });
        }
        let secret: [u8; TOKEN_BYTES] = rand::random();
        let token = secret.iter().fold(PREFIX.to_owned(), |mut token, byte| {
            // Writing to a string cannot fail.
            let _ = write!(token, "{byte:02x}");
            token
        });
        let stored = StoredToken { name: name.to_owned(), hash: hash(&token), created_at_us: now_us() };
        if !self.store.add_token(stored.clone()).await? {
            let what = format!("there is a token {name:?}; revoke it first, or choose another name");
            return Err(RequestError::Taken(what));
        }
        self.names.write().unwrap_or_else(PoisonError::into_inner).insert(stored.hash, stored.name.clone());
        tracing::info!(token = name, "an operator's token was made");
        Ok((stored, token))
    }

    /// All of them, by name.
    pub(crate) async fn list(&self) -> Result<Vec<StoredToken>, RequestError> {
        Ok(self.store.tokens().await?)
    }

    /// Lets one count no more.
    pub(crate) async fn revoke(&self, name: &str) -> Result<(), RequestError> {
        if !self.store.remove_token(name).await? {
            return Err(RequestError::NoToken(name.to_owned()));
        }
        self.names.write().unwrap_or_else(PoisonError::into_inner).retain(|_, known| known != name);
        tracing::info!(token = name, "an operator's token was revoked");
        Ok(())
    }
}

impl strait_runtime::serve::Tokens for Tokens {
    fn holder(&self, token: &str) -> Option<String> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).get(&hash(token)).cloned()
    }
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use strait_runtime::serve::Tokens as _;

    use super::*;

    #[tokio::test]
    async fn a_token_counts_until_it_is_revoked_and_is_kept_as_a_hash_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).await.unwrap();
        let tokens = Tokens::load(store.clone()).await.unwrap();
        let (_, token) = tokens.create("ci").await.unwrap();
        assert_eq!(tokens.holder(&token).as_deref(), Some("ci"));
        assert_eq!(tokens.holder(&token[..token.len() - 1]), None);
        assert!(matches!(tokens.create("ci").await, Err(RequestError::Taken(_))));
        for name in ["", "a b", "ä", &"a".repeat(129)] {
            assert!(matches!(tokens.create(name).await, Err(RequestError::Invalid(_))), "{name}");
        }
        // Others are loaded with the store.
        let again = Tokens::load(store.clone()).await.unwrap();
        assert_eq!(again.holder(&token).as_deref(), Some("ci"));
        tokens.revoke("ci").await.unwrap();
        assert_eq!(tokens.holder(&token), None);
        assert!(matches!(tokens.revoke("ci").await, Err(RequestError::NoToken(_))));
        store.close().await;
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
        }
    }
}
