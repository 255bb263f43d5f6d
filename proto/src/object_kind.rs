//! The kinds of objects, in PostgreSQL's own words, as `object_kinds` of a task and the results per object have them.

/// The kinds that a task can be restricted to. Keys and constraints go with their table, and what a table needs to stand at
/// all, such as its types and the sequences and functions of its defaults, comes with it whatever the restriction.
pub const OBJECT_KINDS: [&str; 21] = [
    "table",
    "index",
    "sequence",
    "type",
    "view",
    "materialized view",
    "function",
    "procedure",
    "aggregate",
    "operator",
    "operator class",
    "operator family",
    "cast",
    "collation",
    "text search configuration",
    "text search dictionary",
    "trigger",
    "rule",
    "policy",
    "statistics object",
    "comment",
];

/// Whether a restriction to `kinds` lets `kind` through; none at all lets everything through.
pub fn is_wanted(kinds: &[String], kind: &str) -> bool {
    kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind)
}
