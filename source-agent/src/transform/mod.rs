//! `transform`: what a task makes of the rows of a table before they leave the source's zone.
//!
//! ```text
//!  text ─► syntax (cel) ─► compile: kinds, columns, functions ─► Program ─► apply: a row of texts in, a row of texts out
//! ```
//!
//! The syntax is CEL's. Kinds and values are PostgreSQL's, because CEL has neither decimals nor infinity nor microseconds, and
//! because what is wrong with an expression has to be known before the first row comes. A value that no rule sets is never
//! read, so it stays as it is, byte by byte.

mod calendar;
mod compile;
mod decimal;
mod functions;
mod interval;
mod json;
mod kind;
mod node;
mod program;
mod syntax;
mod text;
mod trouble;
mod value;

pub(crate) use kind::Kind;
pub(crate) use program::{Added, Input, Program, RuleTrouble, Subject};
pub use syntax::check_expression;
pub(crate) use text::{Needs, TransformText};
