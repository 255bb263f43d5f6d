//! Posting a signed body to a webhook.
//!
//! The header `Strait-Signature: t=TIME,v1=HEX` has the time of the attempt, seconds since the Unix epoch, and HMAC-SHA256 over
//! `TIME.BODY` with the shared secret, in hexadecimal. Redirects are not followed.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long one attempt may take, from the name look-up to the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const SIGNATURE: &str = "strait-signature";

/// What notices are signed with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Where notices are posted, `https://…` or `http://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(Uri);

/// This is no place to post to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no URL to post to: write https://HOST/PATH, or http://…, without user and password")]
pub struct WebhookUrlError;

impl Secret {
    /// A secret; spaces and line ends around it do not count. None where nothing else is there.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The value of the signature's header.
    fn sign(&self, at_seconds: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        let tag = hmac::sign(&key, format!("{at_seconds}.{body}").as_bytes());
        let mut value = format!("t={at_seconds},v1=");
        for byte in tag.as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(value, "{byte:02x}");
        }
        value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| WebhookUrlError)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if is_http && uri.host().is_some_and(|host| !host.is_empty()) && !has_user {
            Ok(Self(uri))
        } else {
            Err(WebhookUrlError)
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One attempt. The error says why in a sentence.
pub(super) async fn post(
    url: &WebhookUrl,
    secret: &Secret,
    at_seconds: i64,
    body: String,
) -> Result<(), String> {
    let attempt = timeout(TIMEOUT, attempt(url, secret, at_seconds, body)).await;
    attempt.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
}

async fn attempt(url: &WebhookUrl, secret: &Secret, at_seconds: i64, body: String) -> Result<(), String> {
    let uri = &url.0;
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or(host, |authority| authority.as_str()))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("strait/", env!("CARGO_PKG_VERSION")))
        .header(SIGNATURE, secret.sign(at_seconds, &body))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("connect to {host}:{port}: {error}"))?;
    if !is_tls {
        return send(stream, request).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = tls()?.connect(name, stream).await.map_err(|error| format!("TLS with {host}: {error}"))?;
    send(stream, request).await
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // Ends with the sender; what breaks it is told by the request.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string());
    driver.abort();
    let status = response?.status();
    if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
}

/// Trusts what the system trusts.
fn tls() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        return Err("the system has no certificates to trust".to_owned());
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_time_and_body() {
        let secret = Secret::new(" Jefe\n").unwrap();
        let signed = secret.sign(1, "{}");
        // `printf '1.{}' | openssl dgst -sha256 -hmac Jefe`
        assert_eq!(signed, "t=1,v1=dc7943cccf20f64327d263db5e2aca27c2b8175e8e6e7ea04f482091bf456b0f");
        assert_ne!(secret.sign(2, "{}"), signed);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(Secret::new(" \n"), None);
    }

    #[test]
    fn a_webhook_is_a_url_without_a_password() {
        for good in ["https://a.example/x?y=1", "http://127.0.0.1:8080", "https://[::1]:1/"] {
            assert!(good.parse::<WebhookUrl>().is_ok(), "{good}");
        }
        for bad in ["", "a.example", "ftp://a/", "https://user:secret@a.example/", "https://"] {
            assert_eq!(bad.parse::<WebhookUrl>(), Err(WebhookUrlError), "{bad}");
        }
    }
}
