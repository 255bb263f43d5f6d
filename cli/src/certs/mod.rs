//! `strait certs`: an authority of one's own, and certificates for the parts, for a trial or a small installation.
//!
//! An authority is two files, `ca.pem` and `ca.key`. Whoever has the key can make a certificate for anything, so it stays
//! with the operator and goes to no zone; `ca.pem` goes to every one.

mod authority;

use std::path::{Path, PathBuf};

use strait_runtime::security::{Peer, Role};

use crate::args::CertsArgs;
use crate::error::Error;
use crate::output;

pub use authority::{Authority, Validity};

/// A pair of files that was written.
#[derive(Debug, serde::Serialize)]
struct Written {
    /// The URI that the certificate has.
    holder: String,
    certificate: PathBuf,
    key: PathBuf,
}

/// Makes the authority where there is none, and a certificate for each part that is named.
pub(crate) fn run(args: &CertsArgs) -> Result<(), Error> {
    let named = [
        (Role::Coordinator, &args.coordinator),
        (Role::SourceAgent, &args.source_agent),
        (Role::SinkAgent, &args.sink_agent),
        (Role::Operator, &args.operator),
    ];
    let peers: Result<Vec<Peer>, Error> =
        named.iter().flat_map(|(role, names)| names.iter().map(|name| peer(*role, name))).collect();
    let peers = peers?;
    let authority = Authority::open_or_create(&args.directory)?;
    let validity = Validity::days(args.days);
    let mut written = Vec::new();
    for peer in peers {
        let (certificate, key) = authority.write(&args.directory, &peer, validity)?;
        written.push(Written { holder: peer.to_string(), certificate, key });
    }
    output::print(args.output, &written, |written| text(&args.directory, written))
}

fn peer(role: Role, name: &str) -> Result<Peer, Error> {
    Peer { role, name: name.to_owned() }
        .to_string()
        .parse()
        .map_err(|error| Error::Argument { argument: role.as_str(), message: format!("{error}") })
}

fn text(directory: &Path, written: &[Written]) -> String {
    let mut text = format!("authority: {}\n", directory.join("ca.pem").display());
    for Written { holder, certificate, key } in written {
        text.push_str(&format!("{holder}: {} {}\n", certificate.display(), key.display()));
    }
    text
}
