//! `strait`: parse the command line, run the library, turn its answer into an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use strait_cli::{Cli, EXIT_DONE, EXIT_FAILED};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return failed("install the TLS provider: there is one already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("start the runtime: {error}")),
    };
    match runtime.block_on(strait_cli::run(cli)) {
        Ok(()) => ExitCode::from(EXIT_DONE),
        Err(error) => {
            if !error.is_broken_pipe() {
                say(&error.report().to_string());
            }
            error.exit_code()
        }
    }
}

fn failed(message: &str) -> ExitCode {
    say(&format!("strait: {message}"));
    ExitCode::from(EXIT_FAILED)
}

/// Writes a line to stderr. Where nobody reads it the exit code has to do.
fn say(message: &str) {
    writeln!(std::io::stderr(), "{message}").ok();
}
