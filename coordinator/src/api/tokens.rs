//! `TokenService`: operators' tokens.

use std::sync::Arc;

use strait_proto::v1::token_service_server::TokenService;
use strait_proto::v1::{
    CreateTokenRequest, CreateTokenResponse, ListTokensRequest, ListTokensResponse, RevokeTokenRequest,
    RevokeTokenResponse, TokenInfo,
};
use tonic::{Request, Response, Status};

use crate::store::StoredToken;
use crate::tokens::Tokens;

/// The service.
pub(crate) struct TokenCalls(pub(crate) Arc<Tokens>);

#[tonic::async_trait]
impl TokenService for TokenCalls {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let (stored, token) = self.0.create(&request.into_inner().name).await?;
        Ok(Response::new(CreateTokenResponse { info: Some(info(stored)), token }))
    }

    async fn list_tokens(
        &self,
        _request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let tokens = self.0.list().await?.into_iter().map(info).collect();
        Ok(Response::new(ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        self.0.revoke(&request.into_inner().name).await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }
}

fn info(StoredToken { name, hash: _, created_at_us }: StoredToken) -> TokenInfo {
    TokenInfo { name, created_at_us }
}
