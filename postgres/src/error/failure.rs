//! From what happened to what it means: may trying again help, which retry window counts, what should a
//! person do.

use std::error::Error as StdError;

use strait_proto::v1;

use super::{Error, ServerError, remedy};

/// The failure that an error amounts to.
pub(super) fn of(error: &Error) -> v1::Failure {
    let kind = if is_connection(error) { v1::FailureKind::Connection } else { v1::FailureKind::Other };
    v1::Failure {
        kind: kind.into(),
        definite: is_definite(error),
        cause: cause(error),
        remedy: remedy::of(error).to_owned(),
    }
}

/// Whether the connection is lost or never came about.
pub(super) fn is_connection(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Closed | Error::Timeout(_) | Error::Resolve { .. } | Error::Target(_) => true,
        Error::Tls { definite, .. } => !definite,
        Error::Connect { source, .. } => match &**source {
            Error::Server(server) => !server_is_definite(server),
            source => is_connection(source),
        },
        Error::Server(server) => match server.class() {
            "08" => true,
            "57" => matches!(server.code.code(), "57P01" | "57P02" | "57P03" | "57P05"),
            _ => server.code.code() == "25P03",
        },
        _ => false,
    }
}

/// Whether trying again cannot help until a person changes something.
fn is_definite(error: &Error) -> bool {
    match error {
        Error::Connect { source, .. } => is_definite(source),
        Error::Server(server) => server_is_definite(server),
        Error::Tls { definite, .. } => *definite,
        Error::PasswordMissing | Error::Authentication(_) | Error::Config(_) => true,
        Error::Refused { .. } | Error::Client(_) => true,
        Error::Resolve { .. } | Error::Io(_) | Error::Closed | Error::Timeout(_) => false,
        Error::Target(_) | Error::Protocol(_) => false,
    }
}

/// By PostgreSQL's error codes (Appendix A). What is not known here is tried again: the retry window bounds
/// it.
fn server_is_definite(error: &ServerError) -> bool {
    match error.class() {
        // Not supported; invalid authorization, database and schema names; data; constraints; syntax and
        // privileges; limits of the program.
        "0A" | "0L" | "0P" | "21" | "22" | "23" | "26" | "28" | "34" | "3D" | "3F" | "42" | "44" | "54" => {
            true
        }
        // Startup parameters that a pooler refuses come as 08P01, like any other violation of the protocol.
        "08" => error.code.code() == "08P01",
        // An object in the wrong state stays there (wal_level, a lost slot); one in use or locked does not.
        "55" => error.code.code() == "55000",
        // The database was dropped.
        "57" => error.code.code() == "57P04",
        _ => false,
    }
}

/// The chain of causes in one line, and the server's DETAIL and HINT after it. Details of data and constraint
/// errors are left out, because they quote rows.
fn cause(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    if let Some(server) = error.server_error() {
        let quotes_rows = matches!(server.class(), "22" | "23");
        let detail = server.detail.as_deref().filter(|_| !quotes_rows);
        for (label, words) in [("DETAIL", detail), ("HINT", server.hint.as_deref())] {
            if let Some(words) = words {
                text.push_str(&format!(". {label}: {words}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio_postgres::error::SqlState;

    use super::*;

    fn server(code: &str, message: &str) -> Error {
        ServerError {
            severity: "FATAL".to_owned(),
            code: SqlState::from_code(code),
            message: message.to_owned(),
            detail: None,
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }
        .into()
    }

    fn connecting(source: Error) -> Error {
        Error::Connect { address: "db:5432".to_owned(), source: Box::new(source) }
    }

    #[test]
    fn sqlstates_tell_definite_from_transient_and_connection_from_other() {
        for (code, definite, connection) in [
            ("08006", false, true),
            ("08P01", true, true),
            ("0A000", true, false),
            ("22001", true, false),
            ("23505", true, false),
            ("25006", false, false),
            ("25P03", false, true),
            ("28000", true, false),
            ("28P01", true, false),
            ("3D000", true, false),
            ("40001", false, false),
            ("40P01", false, false),
            ("42501", true, false),
            ("42601", true, false),
            ("53100", false, false),
            ("53300", false, false),
            ("55000", true, false),
            ("55006", false, false),
            ("55P03", false, false),
            ("57014", false, false),
            ("57P01", false, true),
            ("57P02", false, true),
            ("57P03", false, true),
            ("57P04", true, false),
            ("58030", false, false),
            ("XX000", false, false),
        ] {
            let error = server(code, "words");
            assert_eq!((is_definite(&error), is_connection(&error)), (definite, connection), "{code}");
        }
    }

    #[test]
    fn what_fails_while_connecting_counts_as_connection_unless_it_is_definite() {
        let refused = Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused));
        for (source, definite, connection) in [
            (refused, false, true),
            (server("53300", "too many"), false, true),
            (server("28P01", "wrong"), true, false),
            (Error::PasswordMissing, true, false),
            (Error::Tls { cause: "certificate".to_owned(), definite: true }, true, false),
        ] {
            let failure = connecting(source).failure();
            let kind = if connection { v1::FailureKind::Connection } else { v1::FailureKind::Other };
            assert_eq!((failure.definite, failure.kind()), (definite, kind), "{failure:?}");
        }
    }

    #[test]
    fn the_cause_names_the_address_and_keeps_the_servers_words() {
        let Error::Server(mut inner) = server("28000", "no entry") else { unreachable!() };
        inner.detail = Some("more".to_owned());
        inner.hint = Some("do this".to_owned());
        let failure = connecting(Error::Server(inner)).failure();
        assert_eq!(
            failure.cause,
            "connect to db:5432: FATAL: no entry (SQLSTATE 28000). DETAIL: more. HINT: do this"
        );
    }

    #[test]
    fn details_that_quote_rows_are_left_out() {
        let Error::Server(mut inner) = server("23505", "duplicate key") else { unreachable!() };
        inner.detail = Some("Key (email)=(a@b) already exists.".to_owned());
        assert!(!Error::Server(inner).failure().cause.contains("a@b"));
    }
}
