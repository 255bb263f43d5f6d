//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strait_proto::v1::{ListTasksRequest, TaskState};
use strait_runtime::security::ClientSecurityOptions;
use strait_runtime::telemetry::TelemetryOptions;

use crate::output::OutputFormat;

/// Live synchronisation of one PostgreSQL database into another: schema, all rows, then every change, exactly
/// once.
#[derive(Debug, Parser)]
#[command(
    name = "strait",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "\
Examples:
  strait sync --source postgres://me@eu-db/orders --destination postgres://me@us-db/orders
  strait task create task.yaml && strait task start orders-eu-to-us --wait
  strait task list --output json

Exit codes: 0 done, 1 failed, 2 the command line is wrong, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Synchronise two databases from this process alone, without configuration
    Sync(Box<SyncArgs>),
    /// Work with the tasks of a coordinator
    #[command(arg_required_else_help = true)]
    Task {
        /// What to do with which task.
        #[command(subcommand)]
        command: TaskCommand,
    },
    /// Make, list and revoke the tokens that scripts call the coordinator with
    #[command(arg_required_else_help = true)]
    Token {
        /// What to do with which token.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Make a private authority, and certificates for the parts
    #[command(after_help = "\
The authority's key, ca.key, can sign a certificate for anything: it stays with
you. Each part gets ca.pem and its own two files. A certificate that is made
again counts from the next connection on; nothing has to be restarted.

Example:
  strait certs --directory certs --coordinator main --source-agent eu-1 --sink-agent us-1 --operator me")]
    Certs(CertsArgs),
    /// List the agents that a coordinator knows
    #[command(after_help = "Example:\n  strait agents --coordinator https://coordinator.example:7400")]
    Agents(Remote),
    /// List the databases that the agents offer; a task names them by agent and endpoint
    #[command(after_help = "\
With --check each is asked whether it answers, which slots of tasks stand there
and what they keep, and what belongs to no task of this coordinator. That is never
removed unasked: it may be another coordinator's.

Examples:
  strait endpoints --output yaml
  strait endpoints --check
  strait endpoints --remove-orphan abcdefghijkl --agent eu-1 --role source --endpoint orders")]
    Endpoints {
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
        /// Ask each of them how it is
        #[arg(long)]
        check: bool,
        /// Remove what this task, which the coordinator does not know, has left at one endpoint
        #[arg(long, value_name = "TASK-ID", conflicts_with = "check", requires_all = ["agent", "role", "endpoint"])]
        remove_orphan: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
    /// List what needs somebody's attention
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Examples:
  strait alerts
  strait alerts --task orders-eu-to-us
  strait alerts test                    # posts a notice to the coordinator's webhook
  strait alerts test orders-eu-to-us    # and to the task's own"
    )]
    Alerts {
        /// Test where notices go.
        #[command(subcommand)]
        command: Option<AlertsCommand>,
        /// Of this task alone
        #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
        task: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
}

/// What else can be done about alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Post a notice that means nothing to the webhooks, and say what became of it
    #[command(after_help = "\
A notice has the header Strait-Signature: t=SECONDS,v1=HEX; HEX is HMAC-SHA256 of
`SECONDS.BODY` with the secret that the coordinator was given.

Example:
  strait alerts test orders-eu-to-us")]
    Test {
        /// To this task's webhook as well
        #[arg(default_value = "", hide_default_value = true)]
        task: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
}

/// Which endpoints.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Those of this agent
    #[arg(long, value_name = "AGENT", default_value = "", hide_default_value = true)]
    pub agent: String,
    /// Those of this name
    #[arg(long, value_name = "ENDPOINT", default_value = "", hide_default_value = true)]
    pub endpoint: String,
    /// With --remove-orphan: which of the two agents of this name
    #[arg(long, value_enum, value_name = "ROLE")]
    pub role: Option<Role>,
    /// With --remove-orphan: another database than the endpoint's own
    #[arg(long, value_name = "DATABASE", default_value = "", hide_default_value = true)]
    pub database: String,
}

/// The two kinds of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads a source.
    Source,
    /// Writes a destination.
    Sink,
}

/// Where the coordinator is and how answers look.
#[derive(Clone, Debug, Args)]
pub struct Remote {
    /// Where the coordinator listens
    #[arg(long, value_name = "URI", env = "STRAIT_COORDINATOR", default_value = "https://127.0.0.1:7400")]
    pub coordinator: String,
    /// How it is spoken with.
    #[command(flatten)]
    pub security: ClientSecurityOptions,
    /// A file with an operator's token, which does in place of a certificate; or the token itself in STRAIT_TOKEN
    #[arg(long, value_name = "FILE", env = "STRAIT_TOKEN_FILE", help_heading = "Security")]
    pub token_file: Option<PathBuf>,
    /// How to print the answer
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once and for all: the coordinator keeps a hash of it
    #[command(after_help = "Example:\n  STRAIT_TOKEN=$(strait token create ci)")]
    Create {
        /// What it is known by
        name: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
    /// List the tokens
    List {
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
    /// Let a token count no more
    Revoke {
        /// What it is known by
        name: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
}

/// Options of `strait certs`.
#[derive(Debug, Args)]
pub struct CertsArgs {
    /// Where the authority is, and where certificates are written
    #[arg(long, short, value_name = "DIR", default_value = "certs")]
    pub directory: PathBuf,
    /// A coordinator's certificate; the name tells several apart
    #[arg(long, value_name = "NAME")]
    pub coordinator: Vec<String>,
    /// A source-agent's certificate; the name is the one that tasks use
    #[arg(long, value_name = "NAME")]
    pub source_agent: Vec<String>,
    /// A sink-agent's certificate; the name is the one that tasks use
    #[arg(long, value_name = "NAME")]
    pub sink_agent: Vec<String>,
    /// An operator's certificate
    #[arg(long, value_name = "NAME")]
    pub operator: Vec<String>,
    /// How long the certificates count
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// How to print what was written
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// Options of `strait sync`.
#[derive(Debug, Args)]
#[command(after_help = "\
The task prechecks, copies the schema and all rows, then applies every change
until it is interrupted. Ctrl-C pauses it and the same command again resumes it.
A paused or failed task keeps its replication slot, which keeps log at the
source: resume it, or remove it with --release.

Examples:
  strait sync --source postgres://me@eu-db/orders --destination postgres://me@us-db/orders
  strait sync --source … --destination … --task task.yaml  # some objects only
  strait sync --source … --destination … --once     # copy, clean up, end
  strait sync --source … --destination … --release  # remove all but the tables
  strait sync --source … --destination … --output json     # for scripts")]
pub struct SyncArgs {
    /// The database to read, as a libpq URI; its password may also come from PGPASSWORD or the pgpass file
    #[arg(long, value_name = "URI", env = "STRAIT_SOURCE", hide_env_values = true)]
    pub source: String,
    /// The database to write, as a libpq URI; it must exist
    #[arg(long, value_name = "URI", env = "STRAIT_DESTINATION", hide_env_values = true)]
    pub destination: String,
    /// A task file without `source` and `destination`; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub task: Option<PathBuf>,
    /// End, and remove the task, once all that was committed before the full copy ended is applied
    #[arg(long)]
    pub once: bool,
    /// Remove the task and everything that it made on both sides but the synchronised objects
    #[arg(long, conflicts_with = "once")]
    pub release: bool,
    /// Where the state lives [default: $XDG_STATE_HOME/strait, or ~/.local/state/strait]
    #[arg(long, value_name = "DIR", env = "STRAIT_STATE")]
    pub state: Option<PathBuf>,
    /// How to print what happens: for people, or as one JSON object a line
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = SyncOutput::Text)]
    pub output: SyncOutput,
    /// Logging and telemetry.
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}

/// How `strait sync` prints what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SyncOutput {
    /// Bars on a terminal, lines otherwise.
    Text,
    /// One JSON object a line.
    Json,
}

/// What can be done with tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Store the task that a file describes
    #[command(after_help = "\
Examples:
  strait task create task.yaml
  strait task create - --client-token 7d1c < task.yaml  # repeatable: one task
  strait task create task.yaml --dry-run    # print the exact request and what it would do, make nothing")]
    Create {
        /// The task file; `-` reads standard input
        file: PathBuf,
        /// Makes repeated calls with the same token create one task
        #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
        client_token: String,
        /// Print the exact request, and what the task would do: objects, statements, sizes. Make and store nothing
        #[arg(long, visible_alias = "preview")]
        dry_run: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
    /// List the tasks
    #[command(after_help = "\
Every condition has to hold.

Examples:
  strait task list
  strait task list --environment production --state failed --state retrying
  strait task list --name 'orders-*' --agent eu-1
  strait task list --all --output json")]
    List {
        #[command(flatten)]
        #[allow(missing_docs)]
        filter: Filter,
        #[command(flatten)]
        #[allow(missing_docs)]
        remote: Remote,
    },
    /// Show a task: state, progress, precheck and what became of its objects
    #[command(after_help = "Example:\n  strait task show orders-eu-to-us")]
    Show(OneTask),
    /// Run every check of a task and print the result with cause and remedy
    #[command(after_help = "\
What failed comes first, then the warnings, then what passed. Run it again once
something is mended: everything is checked anew, in seconds. A warning does not
keep a task from starting; one that is confirmed stays so while it says the same.
Exit code 1 where an item failed.

Examples:
  strait task precheck orders-eu-to-us
  strait task precheck orders-eu-to-us --confirm source.replica_identity
  strait task precheck orders-eu-to-us --confirm-all   # of the last precheck, without another")]
    Precheck {
        #[command(flatten)]
        #[allow(missing_docs)]
        task: OneTask,
        /// Record that this warning of the last precheck is accepted, instead of checking again; may be given more than once
        #[arg(long, value_name = "ITEM")]
        confirm: Vec<String>,
        /// The same for every warning
        #[arg(long, conflicts_with = "confirm")]
        confirm_all: bool,
    },
    /// Start a task; it is prechecked where that has not passed yet
    #[command(after_help = "\
Examples:
  strait task start orders-eu-to-us
  strait task start orders-eu-to-us --wait           # return once changes flow
  strait task start orders-eu-to-us --once --wait    # return once it has finished
  strait task start orders-eu-to-us --confirmed      # only if every warning is confirmed")]
    Start {
        /// Finish once all that was committed before the full copy ended is applied
        #[arg(long)]
        once: bool,
        /// Wait until changes flow, with --once until it has finished; fail where it fails
        #[arg(long)]
        wait: bool,
        /// Refuse to start while the task is not prechecked or a warning is not confirmed
        #[arg(long)]
        confirmed: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        task: OneTask,
    },
    /// Stop a task; its slot and its position stay
    #[command(after_help = "Example:\n  strait task pause orders-eu-to-us")]
    Pause(OneTask),
    /// Continue a paused or failed task where the destination stands
    #[command(after_help = "Example:\n  strait task resume orders-eu-to-us")]
    Resume(OneTask),
    /// Change a task: tags, limits and windows at any time, more tables once changes flow, everything before its first start
    #[command(after_help = "\
The file is the whole task as it is to be.
  name, environment, throttle, retry   at any time
  on_error, apply, more in objects     once changes flow, or while it is paused or failed
  everything                           before its first start
A throttle is obeyed within a second or two; for the second kind a running task's
stream starts anew where it stands, and new tables are copied beside it. Any other
field that differs is named with the reason, and then nothing is changed.

Example:
  strait task update orders-eu-to-us task.yaml")]
    Update {
        #[command(flatten)]
        #[allow(missing_docs)]
        task: OneTask,
        /// The task file; `-` reads standard input
        file: PathBuf,
    },
    /// Try again to create the objects that have failed
    #[command(after_help = "\
Each failed object is tried once more, while the task runs or is paused. What
still fails is listed with the server's message and the statement.

Example:
  strait task retry-objects orders-eu-to-us")]
    RetryObjects(OneTask),
    /// Follow a task until it is released
    #[command(after_help = "\
Bars on a terminal, lines otherwise; with --output json the lines that `strait sync` prints.

Example:
  strait task watch orders-eu-to-us --output json")]
    Watch(OneTask),
    /// Print what happened to a task, oldest first
    #[command(after_help = "Example:\n  strait task events orders-eu-to-us --follow")]
    Events {
        /// Go on with what happens, until the task is released
        #[arg(long, short)]
        follow: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        task: OneTask,
    },
    /// Stop a task and remove all that it made on both sides but the synchronised objects
    #[command(after_help = "Example:\n  strait task release orders-eu-to-us --wait")]
    Release {
        /// Wait until all of it is gone
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        task: OneTask,
    },
    /// Check a task file alone, without a coordinator
    #[command(after_help = "\
Names in a task file are exact: what stands there is what the catalog holds.
Quotes keep a dot in a name, as in table: '\"odd.schema\".\"odd name\"', and *
stands for any characters.

Example:
  strait task check task.yaml")]
    Check {
        /// The task file; `-` reads standard input
        file: PathBuf,
        /// How to print what the file says
        #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
        output: OutputFormat,
    },
}

/// Which tasks are listed.
#[derive(Clone, Debug, Default, Args)]
pub struct Filter {
    /// Released ones too
    #[arg(long)]
    pub all: bool,
    /// Those with this tag
    #[arg(long, value_name = "TAG", default_value = "", hide_default_value = true)]
    pub environment: String,
    /// Those in this state; may be given more than once
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Vec<TaskState>,
    /// Those whose source or destination is served by this agent
    #[arg(long, value_name = "AGENT", default_value = "", hide_default_value = true)]
    pub agent: String,
    /// Those whose source or destination is this endpoint
    #[arg(long, value_name = "ENDPOINT", default_value = "", hide_default_value = true)]
    pub endpoint: String,
    /// Those of this name; * stands for any characters
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub name: String,
}

fn state(name: &str) -> Result<TaskState, String> {
    let mut states = (1..).map_while(|number| TaskState::try_from(number).ok());
    states.clone().find(|state| state.name() == name).ok_or_else(|| {
        let names: Vec<_> = states.by_ref().map(|state| state.name()).collect();
        format!("the states are {}", names.join(", "))
    })
}

impl From<Filter> for ListTasksRequest {
    fn from(filter: Filter) -> Self {
        let Filter { all, environment, state, agent, endpoint, name } = filter;
        // Who asks for released tasks means to see them.
        let include_released = all || state.contains(&TaskState::Released);
        let states = state.into_iter().map(Into::into).collect();
        Self { include_released, environment, states, agent, endpoint, name, ..Self::default() }
    }
}

/// A task, and where to find it.
#[derive(Clone, Debug, Args)]
pub struct OneTask {
    /// Its id, or its name where that is unique
    pub task: String,
    /// Where the coordinator is.
    #[command(flatten)]
    pub remote: Remote,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn once_and_release_exclude_each_other() {
        let line = ["strait", "sync", "--source", "a", "--destination", "b", "--once", "--release"];
        let error = Cli::try_parse_from(line).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(crate::error::EXIT_USAGE));
    }

    #[test]
    fn help_does_not_show_what_the_environment_holds() {
        let help = Cli::command().find_subcommand_mut("sync").unwrap().render_long_help().to_string();
        assert!(help.contains("STRAIT_SOURCE"), "{help}");
        assert!(!help.contains("STRAIT_SOURCE="), "{help}");
    }
}
