//! Who may make a call: decided before anything of its body is read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use super::admission::Connection;
use super::refusals::Refusals;
use crate::security::{Peer, Role};

/// What precedes a token in the header `authorization`.
const BEARER: &str = "Bearer ";

/// Who may call a service.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// By certificate.
    roles: &'static [Role],
    /// An operator's token does, too.
    tokens: bool,
}

impl Access {
    /// Holders of a certificate with one of these roles.
    #[must_use]
    pub const fn roles(roles: &'static [Role]) -> Self {
        Self { roles, tokens: false }
    }

    /// Operators, by certificate or by token.
    #[must_use]
    pub const fn operators() -> Self {
        Self { roles: &[Role::Operator], tokens: true }
    }
}

/// Knows the operators' tokens.
pub trait Tokens: Send + Sync + 'static {
    /// The name of the token, if it counts.
    fn holder(&self, token: &str) -> Option<String>;
}

/// The rules of one server.
#[derive(Clone, Default)]
pub(super) struct Rules {
    /// By a service's full name.
    pub(super) services: Vec<(&'static str, Access)>,
    pub(super) tokens: Option<Arc<dyn Tokens>>,
}

impl Rules {
    /// Whether it makes sense to connect without a certificate.
    pub(super) fn anonymous(&self) -> bool {
        self.tokens.is_some()
    }

    /// Who makes the call; `Ok(None)`: anybody, as nobody needs to be known.
    fn check(
        &self,
        connection: &Connection,
        path: &str,
        token: Option<&str>,
    ) -> Result<Option<Peer>, Status> {
        if connection.plain_text {
            return Ok(None);
        }
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let access = self.services.iter().find(|(name, _)| *name == service).map(|(_, access)| *access);
        // What is not listed tells of the services and their health alone: whoever is known may ask.
        let access = access.unwrap_or(Access { roles: &Role::ALL, tokens: true });
        if let Some(peer) = &connection.peer {
            if access.roles.contains(&peer.role) {
                return Ok(Some(peer.clone()));
            }
            let roles: Vec<&str> = access.roles.iter().map(|role| role.as_str()).collect();
            return Err(Status::permission_denied(format!(
                "{path} is for the role {}, and the certificate is of {} {}",
                roles.join(" or "),
                peer.role,
                peer.name
            )));
        }
        match (token, &self.tokens) {
            (Some(token), Some(tokens)) if access.tokens => match tokens.holder(token) {
                Some(name) => Ok(Some(Peer { role: Role::Operator, name })),
                None => Err(Status::unauthenticated("the token is unknown, or was revoked")),
            },
            _ if access.tokens && self.tokens.is_some() => {
                Err(Status::unauthenticated(format!("{path} needs a certificate or an operator's token")))
            }
            _ => Err(Status::unauthenticated(format!("{path} needs a certificate"))),
        }
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Lets calls through that may be made. The [`Peer`] who makes one is in its extensions, except in plain text.
#[derive(Clone, Debug)]
pub(super) struct Authorize<S> {
    pub(super) inner: S,
    pub(super) rules: Arc<Rules>,
    pub(super) refusals: Arc<Refusals>,
}

impl<S> Service<http::Request<Body>> for Authorize<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let token = request
            .headers_mut()
            .remove(http::header::AUTHORIZATION)
            .and_then(|value| Some(value.to_str().ok()?.strip_prefix(BEARER)?.to_owned()));
        let Some(connection) = request.extensions().get::<Connection>().cloned() else {
            return Box::pin(async { Ok(Status::internal("the call came by no connection").into_http()) });
        };
        match self.rules.check(&connection, request.uri().path(), token.as_deref()) {
            Ok(peer) => {
                connection.admit();
                if let Some(peer) = peer {
                    request.extensions_mut().insert(peer);
                }
                Box::pin(self.inner.call(request))
            }
            Err(status) => {
                self.refusals.tell(connection.address.ip(), status.message());
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}
