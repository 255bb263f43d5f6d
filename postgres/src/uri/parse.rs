//! From text to a [`ConnectionUri`].
//!
//! No error quotes the URI or a part of it that could hold the password.

use std::env;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{
    CONNECT_TIMEOUT_DEFAULT, ChannelBinding, ConnectionUri, Host, HostPort, PORT_DEFAULT, RootCertificate,
    SslMode, SslOptions, TargetSessionAttrs,
};
use crate::Error;

/// What the environment says about the user where the URI does not; libpq's variable first.
const USER_VARIABLES: [&str; 3] = ["PGUSER", "USER", "LOGNAME"];

/// The parts of a URI by libpq's names, percent escapes decoded.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<String>,
    dbname: Option<String>,
    ssl_mode: Option<SslMode>,
    ssl_root_certificate: Option<RootCertificate>,
    ssl_certificate: Option<PathBuf>,
    ssl_key: Option<PathBuf>,
    channel_binding: ChannelBinding,
    connect_timeout: Option<Option<Duration>>,
    application_name: Option<String>,
    options: Option<String>,
    target_session_attrs: TargetSessionAttrs,
}

impl FromStr for ConnectionUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or_else(|| invalid("it must begin with postgres:// or postgresql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));

        let mut parts = Parts::default();
        let hosts = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => {
                parts.set_user_info(user_info)?;
                hosts
            }
            None => authority,
        };
        parts.set_hosts(hosts)?;
        parts.dbname = Some(decode(database)?).filter(|name| !name.is_empty());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter
                .split_once('=')
                .ok_or_else(|| invalid("a parameter after the '?' has no '=' and value"))?;
            parts.set_parameter(&decode(name)?, decode(value)?)?;
        }
        parts.finish()
    }
}

impl Parts {
    fn set_user_info(&mut self, user_info: &str) -> Result<(), Error> {
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        self.user = Some(decode(user)?).filter(|user| !user.is_empty());
        self.password = password.map(decode).transpose()?.filter(|password| !password.is_empty());
        Ok(())
    }

    /// `host[:port][,…]`, where an IPv6 address stands in brackets.
    fn set_hosts(&mut self, text: &str) -> Result<(), Error> {
        if text.is_empty() {
            return Ok(());
        }
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for one in text.split(',') {
            let (host, port) = if let Some(bracketed) = one.strip_prefix('[') {
                let (host, after) = bracketed
                    .split_once(']')
                    .ok_or_else(|| invalid("a '[' of an IPv6 address lacks its ']'"))?;
                match after.strip_prefix(':') {
                    Some(port) => (host, port),
                    None if after.is_empty() => (host, ""),
                    None => return Err(invalid("after the ']' of an IPv6 address only ':port' may follow")),
                }
            } else {
                one.split_once(':').unwrap_or((one, ""))
            };
            if port.contains(':') {
                return Err(invalid(
                    "a host holds more than one ':'; an IPv6 address must stand in brackets",
                ));
            }
            // At once, so that a password with an unescaped '?' fails here and not where errors quote a name.
            if !port.is_empty() {
                port_number(port)?;
            }
            hosts.push(decode(host)?);
            ports.push(port.to_owned());
        }
        self.host = Some(hosts.join(",")).filter(|hosts| !hosts.is_empty());
        self.port = Some(ports.join(",")).filter(|ports| !ports.is_empty());
        Ok(())
    }

    fn set_parameter(&mut self, name: &str, value: String) -> Result<(), Error> {
        let present = Some(value.clone()).filter(|value| !value.is_empty());
        match name {
            "host" => self.host = present,
            "port" => self.port = present,
            "user" => self.user = present,
            "password" => self.password = present,
            "dbname" => self.dbname = present,
            // JDBC's spelling, which libpq takes too.
            "ssl" if value == "true" => self.ssl_mode = Some(SslMode::Require),
            "sslmode" => {
                self.ssl_mode = Some(keyword(name, &value, SslMode::KEYWORDS, SslMode::from_keyword)?);
            }
            "sslrootcert" if value == "system" => self.ssl_root_certificate = Some(RootCertificate::System),
            "sslrootcert" => {
                self.ssl_root_certificate = present.map(|file| RootCertificate::File(file.into()))
            }
            "sslcert" => self.ssl_certificate = present.map(PathBuf::from),
            "sslkey" => self.ssl_key = present.map(PathBuf::from),
            "channel_binding" => {
                let known = ChannelBinding::KEYWORDS;
                self.channel_binding = keyword(name, &value, known, ChannelBinding::from_keyword)?;
            }
            "connect_timeout" => self.connect_timeout = Some(timeout(&value)?),
            "application_name" => self.application_name = present,
            "options" => self.options = present,
            "target_session_attrs" => {
                let known = TargetSessionAttrs::KEYWORDS;
                self.target_session_attrs = keyword(name, &value, known, TargetSessionAttrs::from_keyword)?;
            }
            _ => return Err(invalid(&format!("the parameter {name:?} is not known"))),
        }
        Ok(())
    }

    fn finish(self) -> Result<ConnectionUri, Error> {
        let hosts = hosts(self.host.as_deref(), self.port.as_deref())?;
        let user = self.user.or_else(user_of_environment).ok_or_else(|| invalid("it names no user"))?;
        let system_roots = self.ssl_root_certificate == Some(RootCertificate::System);
        // libpq: trusting every public authority without checking the name would be worthless.
        if system_roots && self.ssl_mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            return Err(invalid("sslrootcert=system needs sslmode=verify-full"));
        }
        if self.ssl_certificate.is_some() != self.ssl_key.is_some() {
            return Err(invalid("sslcert and sslkey go together"));
        }
        let mode_default = if system_roots { SslMode::VerifyFull } else { SslMode::default() };
        let connection = ConnectionUri {
            hosts,
            database: self.dbname.unwrap_or_else(|| user.clone()),
            user,
            password: self.password,
            ssl: SslOptions {
                mode: self.ssl_mode.unwrap_or(mode_default),
                root_certificate: self.ssl_root_certificate,
                certificate: self.ssl_certificate,
                key: self.ssl_key,
            },
            connect_timeout: self.connect_timeout.unwrap_or(Some(CONNECT_TIMEOUT_DEFAULT)),
            application_name: self.application_name,
            options: self.options,
            target_session_attrs: self.target_session_attrs,
            channel_binding: self.channel_binding,
        };
        let texts = [Some(&connection.user), Some(&connection.database), connection.options.as_ref()];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(invalid("it holds a zero byte"));
        }
        Ok(connection)
    }
}

/// Pairs hosts and ports: one port counts for all hosts, otherwise there must be as many as hosts.
fn hosts(hosts: Option<&str>, ports: Option<&str>) -> Result<Vec<HostPort>, Error> {
    let hosts: Vec<&str> = hosts.unwrap_or("localhost").split(',').collect();
    let ports: Vec<&str> = ports.unwrap_or_default().split(',').collect();
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(invalid(&format!("it names {} hosts and {} ports", hosts.len(), ports.len())));
    }
    let pair = |(position, host): (usize, &&str)| {
        let host = match *host {
            "" => Host::Tcp("localhost".to_owned()),
            directory if directory.starts_with('/') => Host::Unix(directory.into()),
            name => Host::Tcp(name.to_owned()),
        };
        let port = ports.get(position).or(ports.first()).copied().unwrap_or_default();
        Ok(HostPort { host, port: if port.is_empty() { PORT_DEFAULT } else { port_number(port)? } })
    };
    hosts.iter().enumerate().map(pair).collect()
}

fn port_number(text: &str) -> Result<u16, Error> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        // The text is not quoted: an unescaped '@' or '/' makes a piece of the password look like a port.
        _ => Err(invalid("a port is not a number from 1 to 65535 (is the password percent-encoded?)")),
    }
}

/// Seconds; zero and negative values wait for ever.
fn timeout(text: &str) -> Result<Option<Duration>, Error> {
    let seconds: i64 =
        text.trim().parse().map_err(|_| invalid("connect_timeout is not a whole number of seconds"))?;
    Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs))
}

fn keyword<T>(name: &str, value: &str, known: &[&str], parse: fn(&str) -> Option<T>) -> Result<T, Error> {
    parse(value).ok_or_else(|| invalid(&format!("{name} is {value:?}, expected one of {}", known.join(", "))))
}

fn decode(text: &str) -> Result<String, Error> {
    let bytes = text.as_bytes();
    let is_escape =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if text.match_indices('%').any(|(at, _)| !is_escape(at)) {
        return Err(invalid(
            "a '%' is not followed by two hexadecimal digits; write %25 for the character itself",
        ));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| invalid("a percent-encoded part is not UTF-8"))?.into_owned())
}

fn user_of_environment() -> Option<String> {
    USER_VARIABLES.iter().find_map(|name| env::var(name).ok().filter(|user| !user.is_empty()))
}

fn invalid(reason: &str) -> Error {
    Error::Config(format!("the connection URI is not valid: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConnectionUri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_forms_that_libpq_documents() {
        for (text, identity) in [
            ("postgresql://u@", "postgres://u@localhost:5432/u"),
            ("postgresql://u@localhost", "postgres://u@localhost:5432/u"),
            ("postgresql://u@LocalHost:5433", "postgres://u@localhost:5433/u"),
            ("postgresql://u@localhost/mydb", "postgres://u@localhost:5432/mydb"),
            ("postgresql://u:secret@localhost", "postgres://u@localhost:5432/u"),
            (
                "postgres://other@localhost/otherdb?connect_timeout=10",
                "postgres://other@localhost:5432/otherdb",
            ),
            ("postgresql://u@h1:123,h2:456/somedb", "postgres://u@h1:123,h2:456/somedb"),
            ("postgresql://u@h1,h2:456/somedb", "postgres://u@h1:5432,h2:456/somedb"),
            ("postgresql:///mydb?host=localhost&port=5433&user=u", "postgres://u@localhost:5433/mydb"),
            ("postgres://u@/d?host=h1,h2&port=5433", "postgres://u@h1:5433,h2:5433/d"),
            ("postgresql://u@[2001:db8::1234]/database", "postgres://u@[2001:db8::1234]:5432/database"),
            ("postgresql://u@[::1]:5433,h/d", "postgres://u@[::1]:5433,h:5432/d"),
            ("postgresql://u@%2Fvar%2Flib%2Fpostgresql/d", "postgres://u@%2Fvar%2Flib%2Fpostgresql:5432/d"),
            ("postgresql:///d?host=/tmp&user=u", "postgres://u@%2Ftmp:5432/d"),
            ("postgres://a%40b:p%3Aw@h/d%2Fb", "postgres://a%40b@h:5432/d%2Fb"),
            ("postgres://u@h/?dbname=d", "postgres://u@h:5432/d"),
        ] {
            assert_eq!(parse(text).identity(), identity, "{text}");
        }
    }

    #[test]
    fn every_parameter_survives_a_round_trip() {
        let text = "postgres://u@h:5432/d?sslmode=verify-ca&sslrootcert=%2Fca.pem\
                    &sslcert=%2Fc.pem&sslkey=%2Fk.pem&channel_binding=require&connect_timeout=3&application_name=a%20b\
                    &options=-c%20work_mem%3D64MB&target_session_attrs=read-write";
        assert_eq!(parse(text).to_string(), text);
        assert_eq!(parse(&parse(text).to_string()).to_string(), text);
        assert_eq!(parse("postgres://u@h/d?connect_timeout=0").connect_timeout, None);
        assert_eq!(parse("postgres://u@h/d").connect_timeout, Some(CONNECT_TIMEOUT_DEFAULT));
        assert_eq!(parse("postgres://u@h/d?ssl=true").ssl.mode, SslMode::Require);
        assert_eq!(parse("postgres://u@h/d?sslrootcert=system").ssl.mode, SslMode::VerifyFull);
    }

    #[test]
    fn the_password_is_kept_and_never_shown() {
        for text in ["postgres://u:hush%21@h/d", "postgres://u@h/d?password=hush%21"] {
            let uri = parse(text);
            assert_eq!(uri.password.as_deref(), Some("hush!"));
            assert!(!format!("{uri} {uri:?} {}", uri.identity()).contains("hush"), "{text}");
        }
        // A password with unescaped characters makes a URI that cannot be read, and an error that keeps
        // quiet.
        for text in ["postgres://u:hush/hush@h/d", "postgres://u:hush?hush=1@h/d", "postgres://u:%hush@h/d"] {
            let error = text.parse::<ConnectionUri>().unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        assert_eq!(parse("postgres://u:p@ss@h/d").password.as_deref(), Some("p@ss"));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, reason) in [
            ("mysql://u@h/d", "begin with postgres://"),
            ("postgres://u@h:x/d", "port"),
            ("postgres://u@h:0/d", "port"),
            ("postgres://u@h:99999/d", "port"),
            ("postgres://u@[::1/d", "lacks its ']'"),
            ("postgres://u@[::1]x/d", "only ':port'"),
            ("postgres://u@::1/d", "brackets"),
            ("postgres://u@h/d?sslmode=on", "disable, allow, prefer, require, verify-ca, verify-full"),
            ("postgres://u@h/d?sslmode", "no '='"),
            ("postgres://u@h/d?pool_size=3", "\"pool_size\" is not known"),
            ("postgres://u@h/d?target_session_attrs=master", "read-write"),
            ("postgres://u@h/d?connect_timeout=soon", "connect_timeout"),
            ("postgres://u@h/d?sslrootcert=system&sslmode=require", "verify-full"),
            ("postgres://u@h/d?sslcert=/c", "sslcert and sslkey"),
            ("postgres://u@h1,h2,h3/d?port=1,2", "3 hosts and 2 ports"),
            ("postgres://u@h/%zz", "hexadecimal"),
            ("postgres://u@h/%ff", "UTF-8"),
            ("postgres://u@h/a%00b", "zero byte"),
        ] {
            let error = text.parse::<ConnectionUri>().unwrap_err();
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert!(error.failure().definite, "{text}");
        }
    }
}
