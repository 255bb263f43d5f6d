//! Configuration of every program: flag, then environment, then file, then default.
//!
//! A program describes its options once, as a `clap` struct with [`CommonOptions`] flattened into it. The
//! file (`--config`, TOML) takes the very same names, with `-` or `_`: what it sets becomes the option's
//! default, so that `clap` itself keeps the order of precedence and the rules of each value. What a flag
//! cannot say (`[endpoints.orders]`) stands in tables, which the program names and reads with serde.
//!
//! Everything in the file is checked and all that is wrong with it is said at once; a value of it is never
//! repeated where it might be a secret.

mod common;
mod duration;
mod error;
mod file;
mod tables;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

pub use common::CommonOptions;
pub use duration::parse_duration;
pub use error::{ConfigError, Problem};
pub use tables::Tables;

use file::File;

/// What [`try_load`] read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The options, from wherever each was set.
    pub options: T,
    /// The structured tables of the file.
    pub tables: Tables,
    /// `--check-config` was given: validate the rest, and do not run.
    pub check_only: bool,
}

/// Reads the configuration of this process and makes the program's own `C` of it.
///
/// `tables` names the structured tables that the file may have; any other is an error. Exits with 2 on any
/// error, and with 0 after `--check-config`, once `build` accepted everything, or `--help`.
///
/// ```no_run
/// # use std::collections::BTreeMap;
/// # use strait_runtime::config::{self, CommonOptions};
/// #[derive(clap::Parser)]
/// struct Options {
///     #[command(flatten)]
///     common: CommonOptions,
///     /// The name that tasks use.
///     #[arg(long, env = "STRAIT_AGENT")]
///     agent: String,
/// }
/// let (options, endpoints) = config::load(&["endpoints"], |options: Options, tables| {
///     let endpoints: BTreeMap<String, String> = tables.entries("endpoints")?;
///     Ok((options, endpoints))
/// });
/// ```
pub fn load<T: Parser, C>(tables: &[&str], build: impl FnOnce(T, &Tables) -> Result<C, ConfigError>) -> C {
    let result = try_load(std::env::args_os(), tables).and_then(|loaded: Loaded<T>| {
        let config =
            build(loaded.options, &loaded.tables).map_err(|error| error.in_file(loaded.tables.file()))?;
        Ok((config, loaded.check_only))
    });
    match result {
        Ok((_, true)) => {
            // Nobody listening on stdout is no reason to call the configuration wrong.
            let _ = writeln!(std::io::stdout(), "configuration is valid");
            std::process::exit(0)
        }
        Ok((config, false)) => config,
        Err(error) => error.exit(),
    }
}

/// [`load`] without the exits: `args` starts with the program's name.
///
/// # Errors
/// Everything that is wrong; asking for help or the version also ends here.
pub fn try_load<T: Parser>(
    args: impl IntoIterator<Item = impl Into<OsString>>,
    tables: &[&str],
) -> Result<Loaded<T>, ConfigError> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let command = T::command();
    let file = match config_path(&args) {
        None => Ok(File::default()),
        Some(path) => File::read(path, &command, tables),
    };
    let command = match &file {
        Ok(file) => file.as_defaults(command),
        Err(_) => command,
    };
    let (matches, file) = match (command.try_get_matches_from(args), file) {
        // Help is given whatever the file looks like.
        (Err(help), _) if matches!(help.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Err(ConfigError::Usage(help));
        }
        (_, Err(error)) => return Err(error),
        (Err(error), Ok(file)) => return Err(explain(error, T::command(), &file.tables)),
        (Ok(matches), Ok(file)) => (matches, file),
    };
    let options = T::from_arg_matches(&matches).map_err(ConfigError::Usage)?;
    let has_check = matches.try_contains_id(common::CHECK_CONFIG).unwrap_or(false);
    let check_only = has_check && matches.get_flag(common::CHECK_CONFIG);
    Ok(Loaded { options, tables: file.tables, check_only })
}

/// The file's path has to be known before the options can be parsed, because the file holds their defaults.
fn config_path(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os(common::CONFIG_ENVIRONMENT).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A missing value is named with every place where it can be set; other errors of flags are `clap`'s own.
fn explain(error: clap::Error, mut command: clap::Command, tables: &Tables) -> ConfigError {
    let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return ConfigError::Usage(error);
    };
    // Only a built command can name its arguments.
    command.build();
    let named = command.get_arguments().filter(|arg| missing.contains(&arg.to_string()));
    let problems: Vec<Problem> = named
        .filter_map(|arg| {
            let flag = arg.get_long()?;
            let mut places = format!("give --{flag}");
            if let Some(variable) = arg.get_env() {
                places += &format!(", the environment variable {}", variable.to_string_lossy());
            }
            places += &format!(" or `{flag}` in the configuration file");
            Some(Problem::new(flag, format!("is required: {places}")))
        })
        .collect();
    // A missing argument that is no flag (a subcommand's, a position's) is left to clap.
    if problems.len() == missing.len() {
        ConfigError::Invalid { file: tables.file().map(PathBuf::from), problems }
    } else {
        ConfigError::Usage(error)
    }
}

#[cfg(test)]
mod tests;
