//! What a person should do about the usual errors: the setting or the SQL, ready to paste.

use std::io;

use super::{Error, ServerError};

/// What to do about an error; empty where nothing is known.
pub(super) fn of(error: &Error) -> &str {
    match error {
        Error::Connect { source, .. } => match &**source {
            Error::Protocol(_) => "Check that a PostgreSQL server, and nothing else, listens on that port.",
            source => of(source),
        },
        Error::Server(server) => for_server(server),
        Error::Refused { remedy, .. } => remedy,
        Error::Resolve { .. } => "Check the host name in the URI, and that this machine resolves it.",
        Error::Io(error) => for_io(error),
        Error::Timeout(_) => {
            "Check host and port, and that no firewall drops the packets; a slow network wants a larger \
             connect_timeout in the URI."
        }
        Error::Tls { cause, .. } => for_tls(cause),
        Error::PasswordMissing => {
            "Give the endpoint a password: password_env or password_file in the agent's configuration, \
             PGPASSWORD, or a line in ~/.pgpass (mode 0600)."
        }
        Error::Authentication(_) => {
            "Let pg_hba.conf ask for scram-sha-256, md5, password, cert or trust for this role."
        }
        Error::Target(_) => "Check target_session_attrs in the URI and which server is the primary.",
        _ => "",
    }
}

fn for_server(error: &ServerError) -> &'static str {
    SERVER_REMEDIES
        .iter()
        .find(|(code, words, _)| error.code.code() == *code && error.message.contains(words))
        .map_or("", |(_, _, remedy)| remedy)
}

fn for_io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "Check that the server runs, listens on that address (listen_addresses) and on that port."
        }
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "Check the network between this machine and the server, firewalls included."
        }
        io::ErrorKind::NotFound => "No such socket: check the directory in host= and the port.",
        io::ErrorKind::PermissionDenied => "Check the permissions of the server's socket.",
        _ => "",
    }
}

fn for_tls(cause: &str) -> &'static str {
    TLS_REMEDIES.iter().find(|(words, _)| cause.contains(words)).map_or(
        "Check the certificates on both sides, or lower sslmode in the URI if the network is trusted.",
        |(_, remedy)| remedy,
    )
}

/// SQLSTATE, words that the message must contain, remedy. The first that fits counts, so the special come
/// first.
const SERVER_REMEDIES: &[(&str, &str, &str)] = &[
    ("28P01", "", "Check user and password. To set it: ALTER ROLE \"…\" PASSWORD '…';"),
    (
        "28000",
        "no encryption",
        "Add a line for this host, user and database to the server's pg_hba.conf and reload it; if the \
         line there is hostssl, put sslmode=require into the URI.",
    ),
    (
        "28000",
        "SSL off",
        "Add a line for this host, user and database to the server's pg_hba.conf and reload it; if the \
         line there is hostssl, put sslmode=require into the URI.",
    ),
    (
        "28000",
        "no pg_hba.conf entry",
        "Add a line for this host, user and database to the server's pg_hba.conf and reload it: SELECT \
         pg_reload_conf();",
    ),
    ("28000", "not permitted to log in", "ALTER ROLE \"…\" LOGIN;"),
    (
        "28000",
        "certificate",
        "Give the URI a client certificate: sslcert=FILE and sslkey=FILE, signed by the server's \
         ssl_ca_file.",
    ),
    ("28000", "", "Check that the role exists and pg_hba.conf lets it in."),
    ("3D000", "", "Check the database in the URI or in the task, or create it: CREATE DATABASE \"…\";"),
    (
        "08P01",
        "startup parameter",
        "Connect to the server itself, not to a connection pooler: replication and session settings need it.",
    ),
    ("42704", "unrecognized configuration parameter", "Check options in the URI."),
    (
        "42501",
        "session_replication_role",
        "Let the role set it: as a superuser, GRANT SET ON PARAMETER session_replication_role TO \"…\"; \
         (PostgreSQL 15 and newer), or use a superuser.",
    ),
    (
        "42501",
        "replication",
        "ALTER ROLE \"…\" REPLICATION; (on managed services: grant their role for replication)",
    ),
    (
        "42501",
        "WAL sender",
        "ALTER ROLE \"…\" REPLICATION; (on managed services: grant their role for replication)",
    ),
    (
        "42501",
        "row-level security",
        "ALTER ROLE \"…\" BYPASSRLS; or use the owner of the table without FORCE ROW LEVEL SECURITY.",
    ),
    (
        "42501",
        "must be owner",
        "Use the object's owner, or GRANT the owner's role to the user: GRANT \"owner\" TO \"…\";",
    ),
    ("42501", "for schema", "GRANT USAGE, CREATE ON SCHEMA \"…\" TO \"…\";"),
    ("42501", "for database", "GRANT CONNECT, CREATE ON DATABASE \"…\" TO \"…\";"),
    (
        "42501",
        "for table",
        "GRANT SELECT ON ALL TABLES IN SCHEMA \"…\" TO \"…\"; at the source; at the destination INSERT, \
         UPDATE, DELETE and TRUNCATE as well.",
    ),
    ("42501", "", "Grant the role the privilege that the message names."),
    (
        "53300",
        "max_wal_senders",
        "Raise max_wal_senders on the server and restart it, or release what uses the senders: SELECT * FROM \
         pg_stat_replication;",
    ),
    (
        "53300",
        "",
        "Raise max_connections (or the role's or database's CONNECTION LIMIT), or close sessions: SELECT \
         * FROM pg_stat_activity;",
    ),
    (
        "53400",
        "replication slots",
        "Raise max_replication_slots on the server and restart it, or drop a slot that nothing uses: \
         SELECT slot_name, active FROM pg_replication_slots;",
    ),
    ("53100", "", "The server's disk is full: free space there or enlarge it."),
    ("53200", "", "The server ran out of memory: give it more, or lower what runs there at the same time."),
    (
        "55000",
        "wal_level",
        "ALTER SYSTEM SET wal_level = logical; and restart the server (managed services have their own \
         switch).",
    ),
    (
        "55000",
        "can no longer get changes from replication slot",
        "The slot is lost: the server removed WAL that it needed (max_slot_wal_keep_size). Release the \
         task and create it again.",
    ),
    (
        "55000",
        "does not have a replica identity",
        "Give the table a primary key, or: ALTER TABLE … REPLICA IDENTITY FULL;",
    ),
    (
        "55006",
        "replication slot",
        "Another session reads the slot; to see which: SELECT slot_name, active_pid FROM \
         pg_replication_slots; to end it: SELECT pg_terminate_backend(active_pid) FROM \
         pg_replication_slots WHERE slot_name = '…';",
    ),
    (
        "25006",
        "",
        "The server is read-only: use the primary, or target_session_attrs=read-write with all hosts.",
    ),
    ("57P03", "", "The server starts up, shuts down or recovers: wait for it."),
];

/// Words that the cause must contain, remedy.
const TLS_REMEDIES: &[(&str, &str)] = &[
    (
        "does not support",
        "Switch TLS on at the server (ssl = on), or use sslmode=disable if the network is trusted.",
    ),
    ("UnknownIssuer", "Put the certificate of the authority that signed the server's into sslrootcert=FILE."),
    (
        "not valid for",
        "Use the host name that the server's certificate carries as subjectAltName, or sslmode=verify-ca.",
    ),
    (
        "CaUsedAsEndEntity",
        "The server's certificate is self-signed: put that certificate itself into sslrootcert=FILE, or \
         have an authority sign one.",
    ),
    ("expired", "Renew the server's certificate."),
    (
        "UnsupportedCertVersion",
        "Make the server's certificate again as X.509 version 3, with a subjectAltName (openssl: -addext).",
    ),
];

#[cfg(test)]
mod tests {
    use tokio_postgres::error::SqlState;

    use super::*;

    #[test]
    fn the_usual_errors_come_with_their_remedy() {
        let no_entry = r#"no pg_hba.conf entry for host "10.0.0.1", user "u", database "d""#;
        let no_entry_plain = format!("{no_entry}, no encryption");
        for (code, message, remedy) in [
            ("28P01", r#"password authentication failed for user "u""#, "user and password"),
            ("28000", no_entry_plain.as_str(), "sslmode=require"),
            ("28000", no_entry, "pg_reload_conf"),
            ("28000", r#"role "u" is not permitted to log in"#, "LOGIN"),
            ("28000", "connection requires a valid client certificate", "sslcert"),
            ("28000", r#"role "u" does not exist"#, "role exists"),
            ("3D000", r#"database "x" does not exist"#, "CREATE DATABASE"),
            ("08P01", "unsupported startup parameter: options", "pooler"),
            ("42704", r#"unrecognized configuration parameter "work_meme""#, "options"),
            ("42501", "must be superuser or replication role to start walsender", "REPLICATION"),
            ("42501", "permission denied to start WAL sender", "REPLICATION"),
            ("42501", r#"permission denied to set parameter "session_replication_role""#, "GRANT SET"),
            ("42501", r#"query would be affected by row-level security policy for table "t""#, "BYPASSRLS"),
            ("42501", "must be owner of table t", "owner"),
            ("42501", "permission denied for schema s", "ON SCHEMA"),
            ("42501", "permission denied for table t", "GRANT SELECT"),
            (
                "53300",
                "number of requested standby connections exceeds max_wal_senders",
                "Raise max_wal_senders",
            ),
            ("53300", "sorry, too many clients already", "max_connections"),
            ("53400", "all replication slots are in use", "max_replication_slots"),
            ("53100", "could not extend file: No space left on device", "disk is full"),
            ("55000", "logical decoding requires wal_level >= logical", "wal_level = logical"),
            ("55000", r#"can no longer get changes from replication slot "s""#, "lost"),
            ("55006", r#"replication slot "s" is active for PID 1"#, "pg_terminate_backend"),
            ("57P03", "the database system is starting up", "wait"),
            ("XX000", "anything", ""),
        ] {
            let error = Error::from(ServerError {
                severity: "ERROR".to_owned(),
                code: SqlState::from_code(code),
                message: message.to_owned(),
                detail: None,
                hint: None,
                schema: None,
                table: None,
                column: None,
                constraint: None,
            });
            let found = of(&error);
            assert!(found.contains(remedy) && found.is_empty() == remedy.is_empty(), "{message}: {found:?}");
        }
    }

    #[test]
    fn trouble_on_the_way_to_the_server_has_remedies_too() {
        let tls = |cause: &str| Error::Tls { cause: cause.to_owned(), definite: true };
        let io = |kind: io::ErrorKind| Error::Io(io::Error::from(kind));
        let unknown = Error::Resolve { host: "nowhere".to_owned(), source: io::Error::other("unknown") };
        for (error, remedy) in [
            (unknown, "host name"),
            (io(io::ErrorKind::ConnectionRefused), "listen_addresses"),
            (io(io::ErrorKind::TimedOut), "firewalls"),
            (Error::PasswordMissing, "password_file"),
            (tls("the server does not support TLS"), "ssl = on"),
            (tls("invalid peer certificate: UnknownIssuer"), "sslrootcert"),
            (tls("certificate not valid for name \"x\""), "verify-ca"),
            (tls("something else"), "sslmode"),
        ] {
            assert!(of(&error).contains(remedy), "{error}: {:?}", of(&error));
        }
    }
}
