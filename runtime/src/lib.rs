//! The plumbing of every Strait process: configuration, telemetry, shutdown, backoff, serving, and the
//! agents' half of the control session.
//!
//! Nothing here knows what replication is. A `main.rs` composes these parts; the libraries of the services
//! take what they need of them (a [`Shutdown`], a [`Backoff`], a [`serve::Serve`]) as arguments.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that finds something else than it expects has failed")
)]

pub mod agent;
mod backoff;
pub mod config;
pub mod security;
pub mod serve;
mod shutdown;
pub mod telemetry;
pub mod trace_context;

pub use backoff::Backoff;
pub use shutdown::{Shutdown, Signal, drain};
