//! What a task is: the specification a person wrote, the state it is in, and how the one leads to the other.
//!
//! Nothing here does I/O, reads a clock or rolls dice: everything can be tested by calling it.

mod due;
mod event;
pub(crate) mod failure;
pub(crate) mod glob;
pub(crate) mod name;
pub(crate) mod precheck;
mod record;
pub(crate) mod spec;
mod state;
mod transition;

pub(crate) use due::{Presence, absence, due};
pub(crate) use event::{Command, Context, Event, Operation, Outcome, Refused, Windows};
pub(crate) use failure::FailureFields;
pub(crate) use record::TaskRecord;
pub(crate) use state::{Absence, Interruption, Phase, Retry, RetryReason, Side, SideRelease, State};
pub(crate) use transition::transition;
