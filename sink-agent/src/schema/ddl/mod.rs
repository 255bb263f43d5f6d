//! Renders the model as statements. Pure; names are always quoted, deparsed texts are taken as they are.

pub(super) mod comments;
pub(super) mod sequences;
pub(super) mod tables;
pub(super) mod types;

use strait_postgres::quote;

pub(super) fn create_schema(name: &str) -> String {
    format!("CREATE SCHEMA {}", quote::identifier(name))
}

/// `COLLATE …`, or nothing where the type's own is meant.
fn collate(collation: &str) -> String {
    if collation.is_empty() { String::new() } else { format!(" COLLATE {collation}") }
}
