//! The options that every program has.

use std::path::PathBuf;

use crate::telemetry::TelemetryOptions;

/// The id of `--config`.
pub(super) const CONFIG: &str = "config";
/// The variable that stands for `--config`.
pub(super) const CONFIG_ENVIRONMENT: &str = "STRAIT_CONFIG";
/// The id of `--check-config`.
pub(super) const CHECK_CONFIG: &str = "check_config";

/// Options that every server has; to be flattened into its own.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommonOptions {
    /// Read options from this TOML file; flags and environment variables win over it
    #[arg(id = CONFIG, long = "config", value_name = "FILE", env = CONFIG_ENVIRONMENT)]
    pub config: Option<PathBuf>,
    /// Check the configuration and exit: 0 if it is valid, 2 if not
    #[arg(id = CHECK_CONFIG, long = "check-config")]
    pub check_config: bool,
    /// Logs, traces and metrics.
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}
