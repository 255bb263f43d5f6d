//! Connection URIs as libpq understands them (PostgreSQL, libpq, Connection URIs).
//!
//! A [`ConnectionUri`] never shows its password: not in `Debug`, not in `Display`, not in an error.

mod parse;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How long connecting to one address may take where the URI does not say, authentication included.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The port where the URI does not say.
pub const PORT_DEFAULT: u16 = 5432;

/// What an unreserved character of a URI is (RFC 3986): everything else is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a database is, who connects to it, and how.
///
/// ```
/// let uri: strait_postgres::ConnectionUri =
///     "postgres://app:secret@db1,db2:5433/orders?sslmode=require&target_session_attrs=primary".parse()?;
/// assert_eq!(uri.to_string().contains("secret"), false);
/// assert_eq!(uri.identity(), "postgres://app@db1:5432,db2:5433/orders");
/// # Ok::<(), strait_postgres::Error>(())
/// ```
#[derive(Clone)]
pub struct ConnectionUri {
    pub(crate) hosts: Vec<HostPort>,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    pub(crate) ssl: SslOptions,
    /// `None` waits for ever.
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) application_name: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) target_session_attrs: TargetSessionAttrs,
    pub(crate) channel_binding: ChannelBinding,
}

/// One of the servers to try, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// A name or address, or the directory of a Unix-domain socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Tcp(String),
    Unix(PathBuf),
}

/// TLS as the URI asks for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SslOptions {
    pub(crate) mode: SslMode,
    pub(crate) root_certificate: Option<RootCertificate>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootCertificate {
    /// The authorities that the operating system trusts.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// A parameter's values with their names, in the order of libpq's documentation.
macro_rules! keyword_enum {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$attribute:meta])* $variant:ident = $keyword:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub(crate) enum $name { $($(#[$attribute])* $variant),+ }

        impl $name {
            const KEYWORDS: &[&str] = &[$($keyword),+];

            fn keyword(self) -> &'static str {
                match self { $(Self::$variant => $keyword),+ }
            }

            fn from_keyword(keyword: &str) -> Option<Self> {
                match keyword { $($keyword => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

keyword_enum! {
    /// `sslmode`.
    SslMode {
        Disable = "disable",
        Allow = "allow",
        #[default]
        Prefer = "prefer",
        Require = "require",
        VerifyCa = "verify-ca",
        VerifyFull = "verify-full",
    }
}

keyword_enum! {
    /// `target_session_attrs`.
    TargetSessionAttrs {
        #[default]
        Any = "any",
        ReadWrite = "read-write",
        ReadOnly = "read-only",
        Primary = "primary",
        Standby = "standby",
        PreferStandby = "prefer-standby",
    }
}

keyword_enum! {
    /// `channel_binding`.
    ChannelBinding {
        Disable = "disable",
        #[default]
        Prefer = "prefer",
        Require = "require",
    }
}

impl ConnectionUri {
    /// The database; the user's name where the URI names none.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The role that connects.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where the servers are: `host:port`, several separated by commas.
    pub fn address(&self) -> String {
        self.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// The same servers and role with another database.
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// The same with this password.
    pub fn with_password(&self, password: String) -> Self {
        Self { password: Some(password), ..self.clone() }
    }

    /// A canonical URI without password and parameters: equal for the same servers, database and role.
    pub fn identity(&self) -> String {
        format!("postgres://{}@{}/{}", escape(&self.user), self.authority(), escape(&self.database))
    }

    fn authority(&self) -> String {
        let one = |HostPort { host, port }: &HostPort| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{}:{port}", escape(&name.to_lowercase())),
            Host::Unix(directory) => format!("{}:{port}", escape(&directory.to_string_lossy())),
        };
        self.hosts.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// Every parameter that is not at its default.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let seconds = self.connect_timeout.map_or(0, |timeout| timeout.as_secs());
        let root = self.ssl.root_certificate.as_ref().map(|root| match root {
            RootCertificate::System => "system".to_owned(),
            RootCertificate::File(file) => path(file),
        });
        let unless = |default: bool, value: &str| (!default).then(|| value.to_owned());
        let target = self.target_session_attrs;
        [
            ("sslmode", unless(self.ssl.mode == SslMode::default(), self.ssl.mode.keyword())),
            ("sslrootcert", root),
            ("sslcert", self.ssl.certificate.as_ref().map(path)),
            ("sslkey", self.ssl.key.as_ref().map(path)),
            (
                "channel_binding",
                unless(self.channel_binding == ChannelBinding::default(), self.channel_binding.keyword()),
            ),
            (
                "connect_timeout",
                unless(self.connect_timeout == Some(CONNECT_TIMEOUT_DEFAULT), &seconds.to_string()),
            ),
            ("application_name", self.application_name.clone()),
            ("options", self.options.clone()),
            ("target_session_attrs", unless(target == TargetSessionAttrs::default(), target.keyword())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// The whole URI but for the password; parsing it gives the same URI again.
impl fmt::Display for ConnectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity())?;
        for (position, (name, value)) in self.parameters().iter().enumerate() {
            let separator = if position == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}={}", escape(value))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConnectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionUri({self})")
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Tcp(name) => write!(f, "{name}:{}", self.port),
            Host::Unix(directory) => write!(f, "{}", directory.join(socket_file(self.port)).display()),
        }
    }
}

/// The name of a server's socket within its directory.
pub(crate) fn socket_file(port: u16) -> String {
    format!(".s.PGSQL.{port}")
}

fn escape(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, ESCAPED)
}
