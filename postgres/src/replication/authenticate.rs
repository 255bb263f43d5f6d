//! Startup of a replication session: parameters, then whatever proof of the password the server asks for.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt as _;

use super::frames::Frames;
use crate::Error;
use crate::dial::Login;
use crate::error::ServerError;
use crate::session::startup_options;
use crate::transport::Transport;
use crate::uri::ChannelBinding;

/// Names a session to the server when it is to be cancelled.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BackendKey {
    pub(super) process_id: i32,
    pub(super) secret_key: i32,
}

/// From the startup message to the server's readiness for commands.
pub(super) async fn startup(frames: &mut Frames<Transport>, login: &Login<'_>) -> Result<BackendKey, Error> {
    let options = startup_options(login.uri.options.as_deref());
    let parameters = [
        ("user", login.uri.user.as_str()),
        ("database", login.uri.database.as_str()),
        ("replication", "database"),
        ("client_encoding", "UTF8"),
        ("application_name", login.application_name),
        ("options", options.as_str()),
    ];
    send(frames, |buffer| frontend::startup_message(parameters, buffer)).await?;
    authenticate(frames, login).await?;
    ready(frames).await
}

async fn authenticate(frames: &mut Frames<Transport>, login: &Login<'_>) -> Result<(), Error> {
    let password = || login.password.as_deref().map(str::as_bytes).ok_or(Error::PasswordMissing);
    let bound = match receive(frames).await? {
        Message::AuthenticationOk => return accept_unbound(login),
        Message::AuthenticationCleartextPassword => {
            accept_unbound(login)?;
            let password = password()?;
            send(frames, |buffer| frontend::password_message(password, buffer)).await
        }
        Message::AuthenticationMd5Password(body) => {
            accept_unbound(login)?;
            let hash = md5_hash(login.uri.user.as_bytes(), password()?, body.salt());
            send(frames, |buffer| frontend::password_message(hash.as_bytes(), buffer)).await
        }
        Message::AuthenticationSasl(body) => scram(frames, &body, login, password()?).await,
        _ => Err(Error::Authentication("the server asks for a method that is not supported".to_owned())),
    };
    bound?;
    match receive(frames).await? {
        Message::AuthenticationOk => Ok(()),
        _ => Err(out_of_turn()),
    }
}

/// SCRAM-SHA-256, bound to the TLS channel where both sides can (RFC 5802, RFC 7677).
async fn scram(
    frames: &mut Frames<Transport>,
    offer: &AuthenticationSaslBody,
    login: &Login<'_>,
    password: &[u8],
) -> Result<(), Error> {
    let mechanisms: Vec<String> = offer
        .mechanisms()
        .map(|mechanism| Ok(mechanism.to_owned()))
        .collect()
        .map_err(|error| Error::Protocol(error.to_string()))?;
    let offers = |name: &str| mechanisms.iter().any(|mechanism| mechanism == name);
    let transport = frames.stream_mut();
    let end_point = transport.end_point().filter(|_| login.uri.channel_binding != ChannelBinding::Disable);
    let (mechanism, binding) = match end_point {
        Some(hash) if offers(sasl::SCRAM_SHA_256_PLUS) => {
            (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash.to_vec()))
        }
        // This tells the server that we could: if it could as well, somebody in between has cut its offer.
        Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
        None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
    };
    if !offers(mechanism) {
        return Err(Error::Authentication(format!("the server offers {} only", mechanisms.join(", "))));
    }
    if mechanism != sasl::SCRAM_SHA_256_PLUS {
        accept_unbound(login)?;
    }

    let mut scram = ScramSha256::new(password, binding);
    send(frames, |buffer| frontend::sasl_initial_response(mechanism, scram.message(), buffer)).await?;
    let Message::AuthenticationSaslContinue(challenge) = receive(frames).await? else {
        return Err(out_of_turn());
    };
    scram.update(challenge.data()).map_err(|error| Error::Authentication(error.to_string()))?;
    send(frames, |buffer| frontend::sasl_response(scram.message(), buffer)).await?;
    let Message::AuthenticationSaslFinal(proof) = receive(frames).await? else {
        return Err(out_of_turn());
    };
    scram.finish(proof.data()).map_err(|error| Error::Authentication(error.to_string()))
}

fn accept_unbound(login: &Login<'_>) -> Result<(), Error> {
    if login.uri.channel_binding == ChannelBinding::Require {
        return Err(Error::Authentication(
            "channel_binding=require, and the server does not bind authentication to the TLS channel"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn ready(frames: &mut Frames<Transport>) -> Result<BackendKey, Error> {
    let mut key = BackendKey::default();
    loop {
        match receive(frames).await? {
            Message::BackendKeyData(body) => {
                key = BackendKey { process_id: body.process_id(), secret_key: body.secret_key() };
            }
            Message::ReadyForQuery(_) => return Ok(key),
            Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
            _ => return Err(out_of_turn()),
        }
    }
}

async fn receive(frames: &mut Frames<Transport>) -> Result<Message, Error> {
    match frames.next_message().await? {
        Message::ErrorResponse(body) => Err(ServerError::from_fields(body.fields())?.into()),
        message => Ok(message),
    }
}

/// Sends one message; the names and texts in it hold no zero byte, or encoding says so.
async fn send(
    frames: &mut Frames<Transport>,
    encode: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
) -> Result<(), Error> {
    let mut message = BytesMut::new();
    encode(&mut message).map_err(|error| Error::Config(error.to_string()))?;
    frames.stream_mut().write_all(&message).await?;
    Ok(frames.stream_mut().flush().await?)
}

fn out_of_turn() -> Error {
    Error::Protocol("out of turn during authentication".to_owned())
}
