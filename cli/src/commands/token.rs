//! `strait token`: what scripts call a coordinator with.

use crate::args::TokenCommand;
use crate::client::Coordinator;
use crate::error::Error;
use crate::output;
use crate::view::{NewTokenView, TokenView};

/// Carries a command out.
pub(crate) async fn token(command: TokenCommand) -> Result<(), Error> {
    match command {
        TokenCommand::Create { name, remote } => {
            let created = Coordinator::connect(&remote).await?.create_token(&name).await?;
            // Alone on its line, so that a script can take it as it is.
            output::print(remote.output, &NewTokenView::from(created), |view| view.token.clone())
        }
        TokenCommand::List { remote } => {
            let tokens = Coordinator::connect(&remote).await?.tokens().await?;
            let views: Vec<TokenView> = tokens.iter().map(TokenView::from).collect();
            output::print(remote.output, &views, |views| output::tokens(views))
        }
        TokenCommand::Revoke { name, remote } => {
            Coordinator::connect(&remote).await?.revoke_token(&name).await
        }
    }
}
