//! Bounds of what is told about progress.

/// Tables that a report lists; with more, those that wait or are ready are left out first, the sums hold all.
pub(crate) const TABLES_MAX: usize = 1000;
