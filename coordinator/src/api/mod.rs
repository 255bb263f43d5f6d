//! The gRPC services: they translate, and decide nothing.

mod control;
mod status;
mod tasks;
mod tokens;
mod watch;

pub(crate) use control::Control;
pub(crate) use tasks::Tasks;
pub(crate) use tokens::TokenCalls;
