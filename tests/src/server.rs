//! Real PostgreSQL servers that belong to the tests.
//!
//! A server has its own data directory, port and socket directory, listens on loopback only, and can be stopped, crashed
//! and started again. It goes away with its [`Server`] value, and also when the test process dies in whatever way: a shell
//! waits at a pipe that the operating system closes then, and cleans up (see [`Watchdog`]).

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, NoTls};

use crate::account::Account;
use crate::usage::{children_of, cpu_time_of_tree};
use crate::version::PgVersion;
use crate::wait::{eventually, patience};
use crate::watchdog::Watchdog;

/// How a server lets people in over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Anyone on loopback is who they say.
    Trust,
    /// SCRAM-SHA-256; the superuser has this password.
    Scram {
        /// The superuser's password.
        password: String,
    },
}

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    version: PgVersion,
    authentication: Authentication,
    encoding: &'static str,
    settings: Vec<(String, String)>,
}

impl ServerOptions {
    /// A server fit for either side: logical WAL, room for many slots, no fsync.
    pub fn new(version: PgVersion) -> Self {
        let settings = [
            ("wal_level", "logical"),
            ("max_replication_slots", "100"),
            ("max_wal_senders", "100"),
            ("max_connections", "400"),
            ("max_prepared_transactions", "20"),
            ("shared_buffers", "128MB"),
            ("max_wal_size", "2GB"),
            ("checkpoint_timeout", "5min"),
            ("log_line_prefix", "%m [%p] %a %d "),
            ("listen_addresses", "127.0.0.1"),
            ("fsync", "off"),
            ("full_page_writes", "off"),
        ];
        Self {
            version,
            authentication: Authentication::Trust,
            encoding: "UTF8",
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    /// Asks for passwords over TCP.
    #[must_use]
    pub fn scram(mut self, password: &str) -> Self {
        self.authentication = Authentication::Scram { password: password.to_owned() };
        self
    }

    /// Writes to disk as a production server does.
    #[must_use]
    pub fn durable(self) -> Self {
        self.set("fsync", "on").set("full_page_writes", "on")
    }

    /// Another setting of `postgresql.conf`; the last one wins.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug)]
pub enum StopMode {
    /// Sessions are ended, a checkpoint is written.
    Fast,
    /// As after a crash: recovery follows at the next start.
    Immediate,
}

/// The superuser of every server.
pub const SUPERUSER: &str = "postgres";

/// A running (or stopped) server.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    account: Account,
    programs: PathBuf,
    directory: PathBuf,
    port: u16,
    databases: AtomicU64,
    // Last: removes the directory when everything above is gone.
    _watchdog: Watchdog,
}

impl Server {
    /// Initialises a data directory and starts a server on it.
    pub async fn start(options: ServerOptions) -> Result<Arc<Self>> {
        let programs = options.version.programs().await?;
        let server = tokio::task::spawn_blocking(move || Self::initialise(options, programs)).await??;
        let server = Arc::new(server);
        server.start_again().await?;
        Ok(server)
    }

    /// The server's major version.
    pub fn version(&self) -> PgVersion {
        self.options.version
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection URI for one of its databases, password included.
    pub fn uri(&self, database: &str) -> String {
        self.uri_through(self.port, database)
    }

    /// The same through another port, where a proxy stands.
    pub fn uri_through(&self, port: u16, database: &str) -> String {
        let secret = match &self.options.authentication {
            Authentication::Trust => String::new(),
            Authentication::Scram { password } => format!(":{password}"),
        };
        format!("postgres://{SUPERUSER}{secret}@127.0.0.1:{port}/{database}")
    }

    /// A session, independent of the product's code.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        // Errors of our own statements come back to us: they need not hide the product's in the log.
        let quiet = "options=-c%20log_min_messages%3Dfatal";
        let uri = format!("{}?application_name=strait-tests&{quiet}", self.uri(database));
        let (client, connection) =
            tokio_postgres::connect(&uri, NoTls).await.with_context(|| format!("connect to {database}"))?;
        // Ends with the client; an error reaches the caller through the client.
        tokio::spawn(connection);
        Ok(client)
    }

    /// The CPU time that all of the server's processes have used so far, those that have ended included.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time_of_tree(self.postmaster().context("the server does not run")?)
    }

    /// A database name that nobody has used on this server.
    pub(crate) fn fresh_name(&self, stem: &str) -> String {
        format!("{stem}_{}", self.databases.fetch_add(1, Ordering::Relaxed))
    }

    /// Stops the server and waits until it is gone.
    pub async fn stop(&self, mode: StopMode) -> Result<()> {
        let mode = match mode {
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        };
        self.control(&["stop", "-m", mode, "-t", "120"]).await.context("stop the server")
    }

    /// Starts it where it left off, on the same port.
    pub async fn start_again(&self) -> Result<()> {
        let log = self.directory.join("log");
        let log = log.to_str().context("name the log file")?;
        if let Err(error) = self.control(&["start", "-t", "120", "-l", log]).await {
            return Err(error.context(format!("start PostgreSQL\n{}", self.log_tail(30))));
        }
        Ok(())
    }

    /// Stops and starts it.
    pub async fn restart(&self, mode: StopMode) -> Result<()> {
        self.stop(mode).await?;
        self.start_again().await
    }

    /// Kills every process of the server with SIGKILL and waits until none is left. [`Server::start_again`] recovers it.
    pub async fn kill(&self) -> Result<()> {
        let Some(postmaster) = self.postmaster() else { bail!("the server does not run") };
        let mut processes = children_of(postmaster)?;
        // The postmaster first, or it would restart what died.
        processes.insert(0, postmaster);
        for process in &processes {
            // A child may have gone in between.
            Command::new("kill").args(["-9", &process.to_string()]).output().context("run kill")?;
        }
        eventually("the killed server's processes are gone", patience(), async || {
            Ok(processes.iter().all(|process| !Path::new(&format!("/proc/{process}")).exists()).then_some(()))
        })
        .await
    }

    /// The end of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.log_tail_where(lines, |_| true)
    }

    /// The end of what the log says of one database.
    pub fn log_tail_of(&self, database: &str, lines: usize) -> String {
        // As `log_line_prefix` puts it; a message may go on over lines that begin with a tab.
        let prefix = format!(" {database} ");
        let mut counts = false;
        self.log_tail_where(lines, |line| {
            counts = if line.starts_with('\t') { counts } else { line.contains(&prefix) };
            counts
        })
    }

    fn log_tail_where(&self, lines: usize, wanted: impl FnMut(&&str) -> bool) -> String {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().filter(wanted).collect();
        let tail = &all[all.len().saturating_sub(lines)..];
        format!("--- log of PostgreSQL {} on port {} ---\n{}", self.version(), self.port, tail.join("\n"))
    }

    fn initialise(options: ServerOptions, programs: PathBuf) -> Result<Self> {
        let (account, directory, watchdog) = Self::new_directory()?;
        let data = directory.join("data");
        let mut initdb = account.command(&programs.join("initdb"));
        initdb.current_dir(&directory).arg("-D").arg(&data);
        initdb.args(["-U", SUPERUSER, "-E", options.encoding, "--locale=C.UTF-8", "--no-sync"]);
        if let Authentication::Scram { password } = &options.authentication {
            let file = directory.join("password");
            fs::write(&file, password)?;
            account.own(&file)?;
            initdb.arg("--pwfile").arg(&file).args(["--auth-host=scram-sha-256", "--auth-local=trust"]);
        } else {
            initdb.arg("--auth=trust");
        }
        let output = initdb.output().context("run initdb")?;
        if !output.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&output.stderr));
        }

        let port = free_port()?;
        append_settings(&data, &[address(port, &directory), options.settings.clone()].concat())?;
        let databases = AtomicU64::new(1);
        Ok(Self { options, account, programs, directory, port, databases, _watchdog: watchdog })
    }

    /// Makes a standby of this server, which is stopped for it and started again, and waits until it follows.
    ///
    /// It follows through the physical slot `standby` and keeps copies of failover slots; `settings` are more for it.
    pub async fn standby(&self, settings: &[(&str, &str)]) -> Result<Arc<Self>> {
        let create = "SELECT pg_create_physical_replication_slot('standby', true)";
        self.connect("postgres").await?.batch_execute(create).await.context("create the standby's slot")?;
        self.stop(StopMode::Fast).await?;
        let standby = self.duplicate()?;
        self.start_again().await?;

        let primary = format!("host=127.0.0.1 port={} user={SUPERUSER} dbname=postgres", self.port);
        let follow = [
            ("primary_conninfo", &*primary),
            ("primary_slot_name", "standby"),
            ("hot_standby_feedback", "on"),
            ("sync_replication_slots", "on"),
        ];
        let settings: Vec<(String, String)> =
            follow.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        append_settings(&standby.directory.join("data"), &settings)?;
        let signal = standby.directory.join("data/standby.signal");
        fs::write(&signal, "")?;
        standby.account.own(&signal)?;
        let standby = Arc::new(standby);
        standby.start_again().await?;
        eventually("the standby follows", patience(), async || {
            let follows = "SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'";
            Ok((standby.connect("postgres").await?.query_opt(follows, &[]).await?).map(drop))
        })
        .await?;
        Ok(standby)
    }

    /// Makes a primary of a standby.
    pub async fn promote(&self) -> Result<()> {
        self.control(&["promote", "-t", "60"]).await.context("promote the standby")
    }

    /// The same data in a directory of its own, behind another port. This server must be stopped.
    fn duplicate(&self) -> Result<Self> {
        let (account, directory, watchdog) = Self::new_directory()?;
        let data = directory.join("data");
        let output = account
            .command(Path::new("cp"))
            .arg("-a")
            .arg(self.directory.join("data"))
            .arg(&data)
            .output()?;
        if !output.status.success() {
            bail!("copy the data directory: {}", String::from_utf8_lossy(&output.stderr));
        }
        let port = free_port()?;
        append_settings(&data, &address(port, &directory))?;
        let (options, programs) = (self.options.clone(), self.programs.clone());
        // Names that this server has given out are in use there as well.
        let databases = AtomicU64::new(self.databases.load(Ordering::Relaxed));
        Ok(Self { options, account, programs, directory, port, databases, _watchdog: watchdog })
    }

    /// For the server's files; it goes with the watchdog.
    fn new_directory() -> Result<(Account, PathBuf, Watchdog)> {
        let account = Account::for_servers()?;
        let directory =
            tempfile::Builder::new().prefix("strait-pg-").tempdir_in(account.temporary_root())?.keep();
        let watchdog = Watchdog::over(&directory)?;
        account.own(&directory)?;
        Ok((account, directory, watchdog))
    }

    async fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.account.command(&self.programs.join("pg_ctl"));
        command.current_dir(&self.directory).arg("-D").arg(self.directory.join("data")).args(["-s", "-w"]);
        command.args(arguments).stdin(std::process::Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await?.context("run pg_ctl")?;
        if !output.status.success() {
            bail!("pg_ctl: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn postmaster(&self) -> Option<u32> {
        let file = fs::read_to_string(self.directory.join("data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }
}

/// Where a server listens.
fn address(port: u16, directory: &Path) -> Vec<(String, String)> {
    let directory = directory.display().to_string();
    vec![("port".to_owned(), port.to_string()), ("unix_socket_directories".to_owned(), directory)]
}

/// Adds settings to `postgresql.conf`; the last one wins.
fn append_settings(data: &Path, settings: &[(String, String)]) -> Result<()> {
    let file = data.join("postgresql.conf");
    let mut text = fs::read_to_string(&file)?;
    for (name, value) in settings {
        text.push_str(&format!("\n{name} = '{}'", value.replace('\'', "''")));
    }
    text.push('\n');
    fs::write(&file, text)?;
    Ok(())
}

/// A port that nobody uses right now, from below the range that the system gives to outgoing connections: a server that
/// is stopped and started again must find its port free.
pub fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = rand::random_range(15_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 15000 and 32000")
}
