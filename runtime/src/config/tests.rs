use std::io::Write as _;

use super::*;

#[derive(Debug, clap::Parser)]
#[command(name = "strait-test")]
struct Options {
    #[command(flatten)]
    common: CommonOptions,
    /// The name that tasks use
    #[arg(long, env = "STRAIT_TEST_AGENT")]
    agent: String,
    #[arg(long, default_value_t = 7401)]
    port: u16,
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    heartbeat: std::time::Duration,
    #[arg(long)]
    verbose: bool,
    #[arg(long)]
    tag: Vec<String>,
    // A test cannot set variables, so it takes one that is always there.
    #[arg(long, env = "PATH")]
    path: Option<String>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    uri: String,
    connections: Option<u16>,
}

const TABLES: &[&str] = &["endpoints"];

fn with_file(text: &str, args: &[&str]) -> Result<Loaded<Options>, ConfigError> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    try_load(["strait-test", "--config", path].iter().chain(args), TABLES)
}

fn problems(text: &str) -> Vec<(String, String)> {
    let error = with_file(text, &[]).unwrap_err();
    assert!(error.to_string().contains(".toml"), "names no file: {error}");
    error.problems().iter().map(|problem| (problem.field.clone(), problem.message.clone())).collect()
}

#[test]
fn the_file_wins_over_defaults_and_flags_win_over_the_file() {
    let text = "agent = 'eu-1'\nport = 1\nheartbeat = '250ms'\nverbose = true\ntag = ['a', 'b']";
    let options = with_file(text, &["--port", "2"]).unwrap().options;
    assert_eq!((options.agent.as_str(), options.port, options.verbose), ("eu-1", 2, true));
    assert_eq!(options.heartbeat, std::time::Duration::from_millis(250));
    assert_eq!(options.tag, ["a", "b"]);
    assert_eq!(options.common.config.unwrap().extension().unwrap(), "toml");
}

#[test]
fn the_environment_wins_over_the_file() {
    let options = with_file("agent = 'a'\npath = 'from the file'", &[]).unwrap().options;
    assert_eq!(options.path, std::env::var("PATH").ok());
    let options = with_file("agent = 'a'", &["--path=flag"]).unwrap().options;
    assert_eq!(options.path.as_deref(), Some("flag"));
}

#[test]
fn keys_may_be_written_with_either_dash() {
    for text in ["agent = 'a'\nlog-format = 'json'", "agent = 'a'\nlog_format = 'json'"] {
        assert_eq!(
            with_file(text, &[]).unwrap().options.common.telemetry.log_format,
            crate::telemetry::LogFormat::Json
        );
    }
    assert_eq!(problems("agent = 'a'\nlog-format = 'json'\nlog_format = 'text'").len(), 1);
}

#[test]
fn without_a_file_there_are_only_flags() {
    let loaded: Loaded<Options> = try_load(["strait-test", "--agent=a"], TABLES).unwrap();
    assert_eq!((loaded.options.port, loaded.check_only), (7401, false));
    assert!(loaded.tables.as_toml().is_empty());
}

#[test]
fn all_problems_of_a_file_are_said_at_once() {
    let found =
        problems("agent = 'a'\nprot = 1\nport = 'high'\nverbose = 1\nlog-level = '=='\n[endpoint.x]\n");
    let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["endpoint", "log-level", "port", "prot", "verbose"]);
}

#[test]
fn a_problem_says_what_is_allowed() {
    for (text, field, said) in [
        ("prot = 1", "prot", "is unknown; known are "),
        ("prot = 1", "prot", "agent, port, heartbeat, verbose, tag, path, [endpoints]"),
        ("check-config = true", "check-config", "is unknown"),
        ("port = 'high'", "port", "must be an integer, not of type string"),
        ("port = 70000", "port", "is not in 0..=65535"),
        ("port = [1]", "port", "must be an integer, not of type array"),
        ("agent = 7", "agent", "must be a string, not of type integer"),
        ("log-level = 5", "log-level", "must be a string, not of type integer"),
        ("log-level = '=='", "log-level", "expected error, warn, info, debug or trace"),
        ("verbose = 'yes'", "verbose", "must be true or false"),
        ("heartbeat = 5", "heartbeat", "expected a number and its unit, such as 250ms"),
        ("log-format = 'xml'", "log-format", "must be one of text, json, not \"xml\""),
        ("[port]\nx = 1", "port", "must be an integer, not of type table"),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, field);
        assert!(found[0].1.contains(said), "{:?} does not say {said:?}", found[0].1);
    }
}

#[test]
fn a_missing_value_is_named_with_the_places_where_it_can_be_set() {
    let found = problems("port = 1");
    assert_eq!(
        found,
        [(
            "agent".to_owned(),
            "is required: give --agent, the environment variable STRAIT_TEST_AGENT or `agent` in the \
             configuration file"
                .to_owned()
        )]
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_without_repeating_its_text() {
    let error = with_file("agent = 'a'\nuri = postgres://u:secret@h/db\n", &[]).unwrap_err().to_string();
    assert!(error.contains("line 2, column 7") && !error.contains("secret"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let error = try_load::<Options>(["strait-test", "--config=/nowhere/a.toml"], TABLES).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/a.toml: cannot be read"), "{error}");
}

#[test]
fn help_is_given_whatever_the_file_looks_like() {
    let Err(ConfigError::Usage(help)) = with_file("=", &["--help"]) else { panic!("no help") };
    assert_eq!(help.exit_code(), 0);
    assert!(help.to_string().contains("--check-config"));
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let Err(ConfigError::Usage(error)) = with_file("agent = 'a'", &["--prot=1"]) else { panic!("accepted") };
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn checking_is_asked_for_by_its_flag() {
    assert!(with_file("agent = 'a'", &["--check-config"]).unwrap().check_only);
}

#[test]
fn tables_are_read_entry_by_entry() {
    let text = "agent = 'a'\n[endpoints.orders]\nuri = 'postgres://h/orders'\n\
                [endpoints.w]\nuri = 'x'\nconnections = 3";
    let loaded = with_file(text, &[]).unwrap();
    let endpoints = loaded.tables.entries::<Endpoint>("endpoints").unwrap();
    assert_eq!(endpoints["orders"], Endpoint { uri: "postgres://h/orders".into(), connections: None });
    assert_eq!(endpoints["w"].connections, Some(3));
    assert!(loaded.tables.entries::<Endpoint>("others").unwrap().is_empty());
}

#[test]
fn all_problems_of_a_table_are_said_and_no_secret_is() {
    let text = "agent = 'a'\n[endpoints]\na = 'postgres://u:secret@h/db'\nb = {}\nc = {uri = 'x', usr = 1}\n\
                d = {uri = 'x', connections = 'secret'}";
    let loaded = with_file(text, &[]).unwrap();
    let error = loaded.tables.entries::<Endpoint>("endpoints").unwrap_err();
    let said = error.to_string();
    for part in [
        "endpoints.a` must be a table",
        "endpoints.b",
        "missing field `uri`",
        "unknown field `usr`",
        "expected u16",
    ] {
        assert!(said.contains(part), "{said}\ndoes not say {part}");
    }
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(error.problems().len(), 4);
}
