//! The three real programs as processes of their own, as a user runs them: with configuration files.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use strait_runtime::security::Role;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::layout::{ENDPOINT, Layout, SINK_AGENT, SOURCE_AGENT};
use crate::usage;
use crate::wait::{eventually, patience};

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `strait-coordinator`
    Coordinator,
    /// `strait-source-agent`
    SourceAgent,
    /// `strait-sink-agent`
    SinkAgent,
}

impl Part {
    /// All three, in the order in which they are started.
    pub const ALL: [Self; 3] = [Self::Coordinator, Self::SinkAgent, Self::SourceAgent];

    const fn role(self) -> Role {
        match self {
            Self::Coordinator => Role::Coordinator,
            Self::SourceAgent => Role::SourceAgent,
            Self::SinkAgent => Role::SinkAgent,
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Coordinator => "strait-coordinator",
            Self::SourceAgent => "strait-source-agent",
            Self::SinkAgent => "strait-sink-agent",
        }
    }
}

/// A signal that a scenario sends.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// SIGTERM: end in order.
    Terminate,
    /// SIGKILL: end at once.
    Kill,
    /// SIGSTOP: stand still until continued, with every connection open, as a machine in trouble does.
    Stop,
    /// SIGCONT.
    Continue,
}

/// The running programs. They are killed when this value goes.
#[derive(Debug)]
pub struct Processes {
    layout: Layout,
    directory: TempDir,
    children: Vec<(Part, Child)>,
}

impl Processes {
    /// Writes the configuration files and starts all three.
    pub async fn start(layout: Layout) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("strait-processes-").tempdir()?;
        let mut processes = Self { layout, directory, children: Vec::new() };
        for part in Part::ALL {
            processes.start_again(part).await?;
        }
        Ok(processes)
    }

    /// The addresses that they were started with.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts a part that does not run, on the same configuration and state.
    pub async fn start_again(&mut self, part: Part) -> Result<()> {
        ensure!(self.child(part).is_err(), "{part:?} runs already");
        let child = self.spawn(part, &self.layout)?;
        self.children.push((part, child));
        Ok(())
    }

    /// Starts another process of a part beside the one that runs: the replacement of one that is thought dead. A later
    /// [`Processes::signal`] and [`Processes::wait`] mean the process that was started first.
    pub async fn start_beside(&mut self, part: Part, layout: &Layout) -> Result<()> {
        let child = self.spawn(part, layout)?;
        self.children.push((part, child));
        Ok(())
    }

    /// Kills a part with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self, part: Part) -> Result<()> {
        self.signal(part, Signal::Kill).await?;
        self.wait(part, patience()).await?;
        Ok(())
    }

    /// Kills a part and starts it again.
    pub async fn crash(&mut self, part: Part) -> Result<()> {
        self.kill(part).await?;
        self.start_again(part).await
    }

    /// Removes the coordinator's store, as a lost disk does. The coordinator must not run.
    pub fn lose_store(&mut self) -> Result<()> {
        ensure!(self.child(Part::Coordinator).is_err(), "the coordinator runs");
        for suffix in ["", "-wal", "-shm"] {
            let file = self.directory.path().join(format!("coordinator.sqlite{suffix}"));
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// What the coordinator's files hold, as far as it is text.
    pub fn store(&self) -> Result<String> {
        let mut text = String::new();
        for suffix in ["", "-wal"] {
            let file = self.directory.path().join(format!("coordinator.sqlite{suffix}"));
            if file.exists() {
                text.push_str(&String::from_utf8_lossy(&fs::read(file)?));
            }
        }
        Ok(text)
    }

    /// Sends a signal.
    pub async fn signal(&mut self, part: Part, signal: Signal) -> Result<()> {
        send_signal(self.process(part)?, signal).await
    }

    /// Waits for a part's end.
    pub async fn wait(&mut self, part: Part, deadline: Duration) -> Result<ExitStatus> {
        let child = self.child(part)?;
        let status = tokio::time::timeout(deadline, child.wait())
            .await
            .with_context(|| format!("{part:?} did not end within {deadline:?}"))??;
        let place = self.children.iter().position(|(p, _)| *p == part).context("find the part")?;
        self.children.remove(place);
        Ok(status)
    }

    /// The largest memory that a part has held since its start, or since it was last forgotten, in bytes.
    pub fn memory_peak(&mut self, part: Part) -> Result<u64> {
        usage::memory_peak(self.process(part)?)
    }

    /// Lets a part's memory peak begin anew at what it holds now. False where this system cannot do that.
    pub fn forget_memory_peak(&mut self, part: Part) -> Result<bool> {
        usage::forget_memory_peak(self.process(part)?)
    }

    /// The CPU time that a part has used so far.
    pub fn cpu_time(&mut self, part: Part) -> Result<Duration> {
        usage::cpu_time_of_tree(self.process(part)?)
    }

    /// How much the sink-agent holds on disk of transactions in progress, in bytes: its open files without a name.
    pub fn spooled_bytes(&mut self) -> Result<u64> {
        let process = self.child(Part::SinkAgent)?.id().context("the sink-agent has ended")?;
        let spool = self.layout.spool.to_string_lossy().into_owned();
        let mut bytes = 0;
        for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
            let path = entry?.path();
            // A descriptor may be closed meanwhile.
            let Ok(target) = fs::read_link(&path) else { continue };
            let target = target.to_string_lossy().into_owned();
            if target.starts_with(&spool) && target.ends_with("(deleted)") {
                bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            }
        }
        Ok(bytes)
    }

    /// Fails if a part has ended by itself.
    pub fn assert_running(&mut self) -> Result<()> {
        for (part, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!("{part:?} has ended with {status}");
            }
        }
        Ok(())
    }

    /// Everything that a part has logged, over all its runs.
    pub fn log(&self, part: Part) -> String {
        fs::read_to_string(self.file(part, "log")).unwrap_or_default()
    }

    /// The ends of the parts' logs.
    pub fn log_tails(&self, lines: usize) -> String {
        let tail = |part: Part| {
            let log = self.log(part);
            let all: Vec<&str> = log.lines().collect();
            format!(
                "--- log of {} ---\n{}\n",
                part.program(),
                all[all.len().saturating_sub(lines)..].join("\n")
            )
        };
        Part::ALL.map(tail).concat()
    }

    fn spawn(&self, part: Part, layout: &Layout) -> Result<Child> {
        let configuration = self.file(part, "toml");
        let store = self.directory.path().join("coordinator.sqlite");
        fs::write(&configuration, configuration_of(part, layout, &store.to_string_lossy()))?;
        let log = File::options().create(true).append(true).open(self.file(part, "log"))?;
        let mut command = Command::new(program_path(part.program())?);
        if let Some(collector) = &layout.otlp {
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
                .env("OTEL_METRIC_EXPORT_INTERVAL", "500")
                .env("OTEL_BSP_SCHEDULE_DELAY", "200");
        }
        if let Some((_, port)) = layout.metrics.iter().find(|(served, _)| *served == part) {
            command.arg(format!("--metrics-listen=127.0.0.1:{port}"));
        }
        command
            .arg("--config")
            .arg(&configuration)
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", part.program()))
    }

    fn child(&mut self, part: Part) -> Result<&mut Child> {
        let found = self.children.iter_mut().find(|(p, _)| *p == part);
        Ok(&mut found.with_context(|| format!("{part:?} does not run"))?.1)
    }

    fn process(&mut self, part: Part) -> Result<u32> {
        self.child(part)?.id().with_context(|| format!("{part:?} has ended already"))
    }

    fn file(&self, part: Part, extension: &str) -> PathBuf {
        self.directory.path().join(part.program()).with_extension(extension)
    }
}

fn configuration_of(part: Part, layout: &Layout, store: &str) -> String {
    let endpoint = |uri: &str| {
        let uri = match &layout.password {
            Some(password) => uri.replacen('@', &format!(":{password}@"), 1),
            None => uri.to_owned(),
        };
        format!("[endpoints.{ENDPOINT}]\nuri = {uri:?}\n")
    };
    let security = match &layout.certificates {
        Some(certificates) => certificates.configuration(part.role()),
        None => "plain-text = true\n".to_owned(),
    };
    let own = match part {
        Part::Coordinator => {
            format!("listen = \"127.0.0.1:{}\"\nstore = {store:?}\n", layout.coordinator_port)
        }
        Part::SourceAgent => format!(
            "agent = {SOURCE_AGENT:?}\ncoordinator = {:?}\nheartbeat = \"{}ms\"\n{}",
            layout.address(layout.source_to_coordinator),
            layout.heartbeat.as_millis(),
            endpoint(&layout.source_uri)
        ),
        Part::SinkAgent => format!(
            "agent = {SINK_AGENT:?}\ncoordinator = {:?}\nlisten = \"127.0.0.1:{}\"\ndata-address = {:?}\n\
             spool = {:?}\nspool-bytes-max = {}\n{}",
            layout.address(layout.sink_to_coordinator),
            layout.sink_port,
            layout.address(layout.source_to_sink),
            layout.spool,
            layout.spool_bytes_max,
            endpoint(&layout.destination_uri)
        ),
    };
    // Tables come last in a file.
    security + &own
}

/// Where cargo put a program of the workspace: beside the directory of this test executable.
pub fn program_path(name: &str) -> Result<PathBuf> {
    let executable = std::env::current_exe().context("find the test executable")?;
    let candidates = executable.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    match candidates.clone().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "{name} is not built: run `cargo build --workspace --bins` first, or `make test`, which does"
        ),
    }
}

/// Runs the operator's command to its end.
pub async fn strait(arguments: &[&str]) -> Result<std::process::Output> {
    Command::new(program_path("strait")?)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run strait")
}

/// Sends a signal to a process of ours.
pub(crate) async fn send_signal(process: u32, signal: Signal) -> Result<()> {
    let name = match signal {
        Signal::Terminate => "-TERM",
        Signal::Kill => "-KILL",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
    };
    let status =
        Command::new("kill").args([name, &process.to_string()]).status().await.context("run kill")?;
    ensure!(status.success(), "kill {name} {process} ended with {status}");
    Ok(())
}

/// Waits until something listens on a port of loopback.
pub async fn listening(port: u16) -> Result<()> {
    eventually(&format!("something listens on port {port}"), patience(), async || {
        Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop))
    })
    .await
}
