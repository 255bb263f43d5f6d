//! Operators' tokens.

use serde::Serialize;
use strait_proto::v1;

use super::rfc3339;

/// A token, of which the coordinator knows no more than this.
#[derive(Debug, Serialize)]
pub(crate) struct TokenView {
    pub(crate) name: String,
    pub(crate) created_at: String,
    #[serde(skip)]
    pub(crate) created_at_us: i64,
}

/// One that was just made.
#[derive(Debug, Serialize)]
pub(crate) struct NewTokenView {
    pub(crate) name: String,
    pub(crate) token: String,
}

impl From<&v1::TokenInfo> for TokenView {
    fn from(token: &v1::TokenInfo) -> Self {
        Self {
            name: token.name.clone(),
            created_at: rfc3339(token.created_at_us),
            created_at_us: token.created_at_us,
        }
    }
}

impl From<v1::CreateTokenResponse> for NewTokenView {
    fn from(created: v1::CreateTokenResponse) -> Self {
        Self { name: created.info.unwrap_or_default().name, token: created.token }
    }
}
