//! A PostgreSQL server of the tests' own, one per process.

use std::path::{Path, PathBuf};
use std::process::Command;

use strait_postgres::Client;

/// A running server; stopped when dropped.
pub struct Server {
    directory: PathBuf,
    bin: PathBuf,
    pub port: u16,
}

impl Server {
    /// Initialises and starts a server.
    pub fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("strait-source-test-{port}"));
        std::fs::create_dir(&directory).unwrap();
        let server = Self { directory, bin: bin(), port };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&server.directory));
        }
        let data = server.data();
        server.as_user("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"]);
        server.start_again();
        server
    }

    pub fn start_again(&self) {
        let options = format!(
            "-p {} -c wal_level=logical -c fsync=off -c unix_socket_directories='' -c max_prepared_transactions=5 \
             -c listen_addresses=127.0.0.1 -c log_min_messages=warning",
            self.port
        );
        let log = self.directory.join("log").display().to_string();
        self.as_user("pg_ctl", &["-D", &self.data(), "-o", &options, "-l", &log, "-w", "start"]);
    }

    pub fn stop(&self) {
        self.as_user("pg_ctl", &["-D", &self.data(), "-m", "fast", "-w", "stop"]);
    }

    pub fn uri(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub async fn connect(&self, database: &str) -> Client {
        strait_postgres::connect(&self.uri(database).parse().unwrap(), "test").await.unwrap()
    }

    /// A fresh database.
    pub async fn database(&self, name: &str, sql: &str) -> Client {
        let admin = self.connect("postgres").await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let client = self.connect(name).await;
        client.batch_execute("SET search_path = public").await.unwrap();
        client.batch_execute(sql).await.unwrap();
        client
    }

    fn data(&self) -> String {
        self.directory.join("data").display().to_string()
    }

    fn as_user(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        run(command.args(arguments).current_dir(&self.directory));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.as_user("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn run(command: &mut Command) {
    let output =
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    std::env::var("USER").is_ok_and(|user| user == "root") || Path::new("/root/.profile").exists()
}

/// Where Debian's packages or the environment put the programs.
fn bin() -> PathBuf {
    if let Some(bin) = std::env::var_os("STRAIT_TEST_PG_BIN") {
        return bin.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    versions.map(|entry| entry.unwrap().path().join("bin")).max().unwrap()
}
