//! The file: its flat keys are options, its tables are the program's.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use toml::Value;

use super::common::{CHECK_CONFIG, CONFIG};
use super::error::{ConfigError, Problem};
use super::tables::Tables;
use crate::telemetry::STANDARD_ENVIRONMENT;

/// A file whose every key is known and every value allowed.
#[derive(Debug, Default)]
pub(super) struct File {
    /// An option's id, and its values.
    options: Vec<(String, Vec<OsString>)>,
    pub(super) tables: Tables,
}

impl File {
    /// Reads and checks the file against the options of `command` and the names of its tables.
    pub(super) fn read(path: PathBuf, command: &Command, tables: &[&str]) -> Result<Self, ConfigError> {
        let whole = |message: String| ConfigError::invalid("", message).in_file(Some(&path));
        let text =
            std::fs::read_to_string(&path).map_err(|error| whole(format!("cannot be read: {error}")))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| whole(syntax(&text, &error)))?;
        // Only a built command knows what each argument takes.
        let mut command = command.clone();
        command.build();
        Self::check(&path, table, &command, tables)
    }

    fn check(
        path: &Path,
        table: toml::Table,
        command: &Command,
        tables: &[&str],
    ) -> Result<Self, ConfigError> {
        let allowed: Vec<&Arg> = command.get_arguments().filter(|arg| may_stand_in_file(arg)).collect();
        let checker = without_other_sources(command);
        let (mut options, mut structured, mut problems) = (Vec::new(), toml::Table::new(), Vec::new());
        for (key, value) in table {
            if tables.contains(&key.as_str()) {
                structured.insert(key, value);
                continue;
            }
            let flag = key.replace('_', "-");
            let Some(arg) = allowed.iter().find(|arg| arg.get_long() == Some(&flag)) else {
                problems.push(Problem::new(key, unknown(&allowed, tables)));
                continue;
            };
            let id = arg.get_id().to_string();
            if options.iter().any(|(other, _)| *other == id) {
                problems.push(Problem::new(key, "is set twice, once with - and once with _"));
                continue;
            }
            match texts(arg, &value).and_then(|texts| accepted(&checker, arg, texts)) {
                Ok(texts) => options.push((id, texts)),
                Err(message) => problems.push(Problem::new(key, message)),
            }
        }
        if problems.is_empty() {
            Ok(Self { options, tables: Tables::new(Some(path.to_owned()), structured) })
        } else {
            Err(ConfigError::Invalid { file: Some(path.to_owned()), problems })
        }
    }

    /// The command with the file's values in place of its defaults, so that flags and the environment win
    /// over them.
    pub(super) fn as_defaults(&self, command: Command) -> Command {
        self.options.iter().filter(|(id, _)| !has_standard_environment(id)).fold(
            command,
            |command, (id, values)| {
                command.mut_arg(id, |arg| arg.default_values_os(values.clone()).required(false))
            },
        )
    }
}

/// Positions and the flags that are about the call itself do not belong in a file.
fn may_stand_in_file(arg: &Arg) -> bool {
    let takes_value = matches!(
        arg.get_action(),
        ArgAction::Set | ArgAction::Append | ArgAction::SetTrue | ArgAction::SetFalse
    );
    takes_value && arg.get_long().is_some() && ![CONFIG, CHECK_CONFIG].contains(&arg.get_id().as_str())
}

/// Whether a variable outside `STRAIT_…` is set that means this option and wins over the file.
fn has_standard_environment(id: &str) -> bool {
    STANDARD_ENVIRONMENT
        .iter()
        .any(|(option, variable)| *option == id && std::env::var_os(variable).is_some_and(|v| !v.is_empty()))
}

fn unknown(allowed: &[&Arg], tables: &[&str]) -> String {
    let options = allowed.iter().filter_map(|arg| arg.get_long()).map(str::to_owned);
    let known: Vec<String> = options.chain(tables.iter().map(|table| format!("[{table}]"))).collect();
    format!("is unknown; known are {}", known.join(", "))
}

/// The position of the error, and never the line itself: it may hold a password.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("is not TOML: line {line}, column {column}: {}", error.message().trim())
}

/// The value as the words that would follow the flag, once its type fits the option's.
fn texts(arg: &Arg, value: &Value) -> Result<Vec<OsString>, String> {
    let many = matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    let texts = match value {
        Value::Array(values) if many => values.iter().map(|value| text(arg, value)).collect(),
        Value::Array(_) => Err(wrong_type(arg, value)),
        single => text(arg, single).map(|text| vec![text]),
    }?;
    Ok(texts.into_iter().map(OsString::from).collect())
}

fn text(arg: &Arg, value: &Value) -> Result<String, String> {
    let kind = Kind::of(arg);
    match value {
        Value::String(text) if matches!(kind, Kind::Text | Kind::Own) => Ok(text.clone()),
        Value::Integer(number) if !matches!(kind, Kind::Text | Kind::Boolean) => Ok(number.to_string()),
        Value::Float(number) if matches!(kind, Kind::Float | Kind::Own) => Ok(number.to_string()),
        Value::Boolean(truth) if matches!(kind, Kind::Boolean) => Ok(truth.to_string()),
        other => Err(wrong_type(arg, other)),
    }
}

fn wrong_type(arg: &Arg, value: &Value) -> String {
    let expected = match Kind::of(arg) {
        Kind::Boolean => "true or false",
        Kind::Integer => "an integer",
        Kind::Float => "a number",
        Kind::Text | Kind::Own => "a string",
    };
    format!("must be {expected}, not of type {}", value.type_str())
}

/// Which TOML types an option takes.
enum Kind {
    Boolean,
    Integer,
    Float,
    Text,
    /// A type with a parser of its own, which also says what it makes of a number.
    Own,
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let id = arg.get_value_parser().type_id();
        let is = |types: &[TypeId]| types.iter().any(|known| id == *known);
        let unsigned = is(&[
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
        ]);
        let signed = is(&[TypeId::of::<i16>(), TypeId::of::<i32>(), TypeId::of::<i64>()]);
        if is(&[TypeId::of::<bool>()]) {
            Self::Boolean
        } else if unsigned || signed {
            Self::Integer
        } else if is(&[TypeId::of::<f32>(), TypeId::of::<f64>()]) {
            Self::Float
        } else if is(&[TypeId::of::<String>(), TypeId::of::<PathBuf>(), TypeId::of::<OsString>()]) {
            Self::Text
        } else {
            Self::Own
        }
    }
}

/// A command in which nothing but the arguments given can be wrong.
fn without_other_sources(command: &Command) -> Command {
    command.clone().mut_args(|arg| arg.env(clap::builder::Resettable::Reset).required(false))
}

/// Asks the option's own parser.
fn accepted(checker: &Command, arg: &Arg, values: Vec<OsString>) -> Result<Vec<OsString>, String> {
    if !arg.get_action().takes_values() {
        return Ok(values);
    }
    for value in &values {
        let mut flag = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
        flag.push(value);
        let parsed = checker.clone().try_get_matches_from([OsString::from(checker.get_name()), flag]);
        if let Err(error) = parsed
            && let Some(message) = refusal(&error)
        {
            return Err(message);
        }
    }
    Ok(values)
}

/// What the parser of a value said; `None` where the error is about something else than the value.
fn refusal(error: &clap::Error) -> Option<String> {
    use std::error::Error as _;
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };
    match (error.kind(), error.get(ContextKind::ValidValue), error.source()) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid)), _) if !valid.is_empty() => {
            Some(format!("must be one of {}, not {value:?}", valid.join(", ")))
        }
        (ErrorKind::InvalidValue, ..) => Some("must not be empty".to_owned()),
        (ErrorKind::ValueValidation, _, Some(source)) => Some(format!("is {value:?}: {source}")),
        _ => None,
    }
}
