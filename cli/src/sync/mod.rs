//! `strait sync`: the coordinator and both agents in this process, and one task between two databases.
//!
//! ```text
//!            ┌───────────── this process ─────────────┐
//!            │ coordinator ◄── control ── both agents │
//! session ──►│      │ WatchTask                       │──► source, destination
//!            └──────┼─────────────────────────────────┘
//!                   ▼
//!      steps::next(goal, task) ──► precheck, start, resume, pause, release, or the end
//! ```
//!
//! The parts are the same libraries that the three programs run, on loopback and ephemeral ports. What
//! happens is decided by the coordinator; this module only asks for the next thing, as an operator would.
//! Everything that must outlive the process is in the coordinator's store and in the destination, so a kill
//! at any point is resumed by the same command.

mod identity;
mod parts;
mod session;
mod state_dir;
mod steps;

use strait_proto::TaskId;
use strait_proto::v1;
use strait_runtime::Shutdown;
use strait_runtime::telemetry::{self, TelemetryOptions};

use crate::args::{SyncArgs, SyncOutput};
use crate::commands::read_document;
use crate::document::Form;
use crate::error::Error;
use crate::report::{Format, Printer, Reporter};

use parts::Parts;
use session::{Ending, Session};
use state_dir::StateDir;
use steps::Goal;

/// The name of both agents: each role has its own.
const AGENT: &str = "sync";
const SOURCE_ENDPOINT: &str = "source";
const DESTINATION_ENDPOINT: &str = "destination";

/// What the command line asks for.
struct Plan {
    task_id: TaskId,
    spec: v1::TaskSpec,
    goal: Goal,
    /// What is printed is for people, so that they were told already what the checks found.
    told: bool,
}

/// Carries `strait sync` out.
pub(crate) async fn run(args: SyncArgs) -> Result<(), Error> {
    let _telemetry = telemetry::init(&logging(&args), "strait-sync")?;
    let plan = Plan::of(&args)?;
    let state = StateDir::open(args.state.as_deref(), &plan.task_id)?;
    let interrupt = Shutdown::on_signals().map_err(|error| Error::Part {
        part: "install the signal handlers".to_owned(),
        source: Some(Box::new(error)),
    })?;
    let mut reporter = Reporter::new(Printer::new(match args.output {
        SyncOutput::Text => Format::for_people(),
        SyncOutput::Json => Format::Json,
    }));
    let ended = Box::pin(sessions(&args, &plan, &state, &interrupt, &mut reporter)).await;
    // The bars go whatever happened; what happened is worth more than that they could not.
    let finished = reporter.finish();
    let ending = ended?;
    finished?;
    match ending {
        Ending::Released => state.remove(),
        Ending::Paused if plan.goal == Goal::Once => Err(Error::Interrupted),
        Ending::Interrupted if plan.goal != Goal::Follow => Err(Error::Interrupted),
        Ending::Paused | Ending::Interrupted | Ending::StartOver => Ok(()),
    }
}

/// A session, and another one where the first found that the task's life was over.
async fn sessions(
    args: &SyncArgs,
    plan: &Plan,
    state: &StateDir,
    interrupt: &Shutdown,
    reporter: &mut Reporter,
) -> Result<Ending, Error> {
    loop {
        let mut parts = Parts::start(state.store(), state.spool(), &args.source, &args.destination).await?;
        let ended = match Session::open(plan, state, &parts, interrupt, reporter).await {
            Ok(session) => session.run(&mut parts).await,
            Err(error) => Err(error),
        };
        parts.stop().await;
        match ended? {
            Ending::StartOver => {}
            ending => return Ok(ending),
        }
    }
}

impl Plan {
    fn of(args: &SyncArgs) -> Result<Self, Error> {
        let source = identity::parse("source", &args.source)?;
        let destination = identity::parse("destination", &args.destination)?;
        let task_id = identity::task_id(&source, &destination);
        let mut spec = match &args.task {
            Some(file) => read_document(file, Form::Sync)?,
            None => v1::TaskSpec::default(),
        };
        if spec.name.is_empty() {
            spec.name = format!("sync-{task_id}");
        }
        spec.source = Some(reference(SOURCE_ENDPOINT));
        spec.destination = Some(reference(DESTINATION_ENDPOINT));
        let goal = match (args.once, args.release) {
            (_, true) => Goal::Release,
            (true, false) => Goal::Once,
            // It ends by itself, and is released then.
            (false, false) if !spec.synchronizes(v1::Synchronization::Incremental) => Goal::Once,
            (false, false) => Goal::Follow,
        };
        Ok(Self { task_id, spec, goal, told: args.output == SyncOutput::Text })
    }
}

/// The endpoint's own database: the URI names it.
fn reference(endpoint: &str) -> v1::EndpointReference {
    v1::EndpointReference { agent: AGENT.to_owned(), endpoint: endpoint.to_owned(), database: String::new() }
}

/// A person who watches wants warnings alone; a script's log may say more.
fn logging(args: &SyncArgs) -> TelemetryOptions {
    let mut options = args.telemetry.clone();
    let chosen =
        options.log_level.is_some() || std::env::var_os("RUST_LOG").is_some_and(|value| !value.is_empty());
    if !chosen && args.output == SyncOutput::Text {
        options.log_level = Some("warn".to_owned());
    }
    options
}
