//! The harness of Strait's end-to-end tests: real PostgreSQL servers, the real programs, faults, and comparisons that use
//! none of the product's code.
//!
//! A scenario usually begins with [`Scenario`](scenario::Scenario): two fresh databases on the shared [`Pair`](pair::Pair)
//! and Strait between them. What it asserts it reads from the databases themselves.

pub mod certificates;
pub mod collector;
pub mod compare;
pub mod database;
pub mod debian;
pub mod footprint;
pub mod gnumed;
pub mod greenplum;
pub mod in_process;
pub mod layout;
pub mod oracle;
pub mod packages;
pub mod pair;
pub mod processes;
pub mod proxy;
pub mod regression;
pub mod samples;
pub mod scenario;
pub mod schema_dump;
pub mod server;
pub mod sync;
pub mod tasks;
pub mod usage;
pub mod version;
pub mod wait;
pub mod workload;

mod account;
mod watchdog;

pub use anyhow::Result;
