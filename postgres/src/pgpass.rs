//! Passwords from where libpq looks for them when the URI has none: `PGPASSWORD`, then the password file
//! (PostgreSQL, libpq, The Password File).

use std::env;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::uri::{ConnectionUri, Host, HostPort};

/// The password for one of the URI's servers: the URI's own, `PGPASSWORD`, or that of the first line of the
/// password file that fits.
///
/// A password file that others may read is not used, as with libpq; a warning says so.
pub(crate) async fn password(uri: &ConnectionUri, server: &HostPort) -> Option<String> {
    if let Some(password) = &uri.password {
        return Some(password.clone());
    }
    if let Ok(password) = env::var("PGPASSWORD")
        && !password.is_empty()
    {
        return Some(password);
    }
    let path = path()?;
    match read(&path).await {
        Ok(text) => find(&text, server, &uri.database, &uri.user),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "password file is not used");
            None
        }
    }
}

/// Whether nobody but the owner may read a secret file: mode 0600 or less, or 0640 where root owns it
/// (libpq's rule for keys, for the sake of secrets that a group of the machine shares).
pub(crate) fn is_private(metadata: &Metadata) -> bool {
    let allowed = if metadata.uid() == 0 { 0o640 } else { 0o600 };
    metadata.permissions().mode() & 0o777 & !allowed == 0
}

fn path() -> Option<PathBuf> {
    match env::var_os("PGPASSFILE").filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => env::home_dir().map(|home| home.join(".pgpass")),
    }
}

async fn read(path: &Path) -> io::Result<String> {
    let metadata = tokio::fs::metadata(path).await?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        let words = "group or others may access it; permissions should be 0600 or less";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    tokio::fs::read_to_string(path).await
}

/// The password of the first line `host:port:database:user:password` whose first four fields fit.
fn find(text: &str, server: &HostPort, database: &str, user: &str) -> Option<String> {
    let host = match &server.host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(directory) => directory.to_string_lossy().into_owned(),
    };
    // Sockets in their usual directories are found under "localhost" too.
    let alias =
        matches!(host.as_str(), "/tmp" | "/var/run/postgresql" | "/run/postgresql").then_some("localhost");
    let port = server.port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let (fields, password) = fields(line)?;
        let fits = |field: usize, value: &str| fields[field] == "*" || unescape(fields[field]) == value;
        let host_fits = fits(0, &host) || alias.is_some_and(|alias| fits(0, alias));
        (host_fits && fits(1, &port) && fits(2, database) && fits(3, user)).then(|| unescape(password))
    })
}

/// Splits a line at its colons, where a backslash escapes the character after it; the password goes to the
/// next unescaped colon or the end.
fn fields(line: &str) -> Option<([&str; 4], &str)> {
    let mut parts = Vec::with_capacity(5);
    let (mut start, mut escaped) = (0, false);
    for (at, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => {
                parts.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&line[start..]);
    match *parts.get(..5)? {
        [host, port, database, user, password] => Some(([host, port, database, user], password)),
        _ => None,
    }
}

fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut escaped = false;
    for character in field.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(character);
            escaped = false;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# a comment: it has:four:colons:too
db1:5432:orders:app:first
db1:*:*:app:any-port
[::1]:5432:*:*:brackets-are-no-part-of-it
::1:5432:*:*:unescaped-colons
\\:\\:1:5432:*:*:ipv6
*:*:a\\:b:we\\\\ird:p\\:w\\\\d
too:few:fields
localhost:*:*:sock:by-socket
*:*:*:last:
";

    #[test]
    fn the_first_line_that_fits_counts() {
        for (host, port, database, user, password) in [
            ("db1", 5432, "orders", "app", Some("first")),
            ("db1", 5433, "orders", "app", Some("any-port")),
            ("db1", 5432, "other", "app", Some("any-port")),
            ("db2", 5432, "orders", "app", None),
            ("::1", 5432, "d", "u", Some("ipv6")),
            ("h", 1, "a:b", r"we\ird", Some(r"p:w\d")),
            ("/tmp", 5432, "d", "sock", Some("by-socket")),
            ("/elsewhere", 5432, "d", "sock", None),
            ("h", 1, "d", "last", Some("")),
        ] {
            let target = match host.strip_prefix('/') {
                Some(_) => Host::Unix(host.into()),
                None => Host::Tcp(host.to_owned()),
            };
            let found = find(FILE, &HostPort { host: target, port }, database, user);
            assert_eq!(found.as_deref(), password, "{host}:{port}:{database}:{user}");
        }
    }
}
