//! Why a change of a row failed: because of what the row holds, or for a reason that has nothing to do with it.

use strait_postgres::ServerError;

use super::change::Change;
use super::evidence::row_key;
use super::relation::LookupBy;
use crate::error::Error;

/// SQLSTATEs that say that the table is not what it was when the session read its shape: undefined table,
/// column, function or conflict target, wrong type, no such cast. The next session reads it anew and knows
/// better.
const SHAPE_CHANGED: [&str; 6] = ["42P01", "42703", "42883", "42P10", "42804", "42846"];

/// Whether the row itself is to blame: the same change fails again, and every other one may do well. What is not
/// known here is not the row's fault, so that nothing is ever left out because of the server's state.
fn is_of_the_row(code: &str) -> bool {
    match code.get(..2).unwrap_or_default() {
        // Data, constraints, WITH CHECK OPTION; what triggers raise, in PL/pgSQL and in other languages.
        "22" | "23" | "44" | "P0" | "38" | "39" => true,
        // A value too large for an index. Others of the class are limits of statements.
        "54" => code == "54000",
        _ => false,
    }
}

/// What the server said about a change, if it is the row that is to blame.
pub(super) fn of_the_row(error: &Error) -> Option<ServerError> {
    let server = error.database_error().and_then(strait_postgres::Error::server_error)?;
    is_of_the_row(server.code.code()).then(|| server.clone())
}

/// A change that cannot be applied: definite, unless the server itself has a passing problem.
pub(super) fn explained(change: &Change, error: Error) -> Error {
    let failure = error.failure();
    let Some(server) = error.database_error().and_then(strait_postgres::Error::server_error) else {
        return error;
    };
    if !failure.definite && !is_of_the_row(server.code.code()) {
        return error;
    }
    let table = &change.relation.target.name;
    if SHAPE_CHANGED.contains(&server.code.code()) {
        return Error::NotNow(format!(
            "table {table} at the destination has changed its shape: {}",
            server.message
        ));
    }
    let constraint =
        server.constraint.as_ref().map(|name| format!(" (constraint {name})")).unwrap_or_default();
    // A whole row must not leave the destination; a key is what a person needs to find it.
    let key = match change.relation.lookup.by {
        LookupBy::WholeRow => String::new(),
        LookupBy::Index | LookupBy::Columns | LookupBy::Text => format!(" with {}", row_key(change)),
    };
    let cause = format!(
        "the {} of a row of table {table}{key} at {} cannot be applied: {}{constraint} (SQLSTATE {})",
        change.operation(),
        change.commit_lsn,
        server.message,
        server.code.code()
    );
    let remedy = if failure.remedy.is_empty() {
        format!(
            "Make table {table} at the destination accept what the source has (its columns, types, \
             constraints and triggers), then resume the task. A task with on_error: skip leaves such changes \
             out and keeps them in strait.conflict."
        )
    } else {
        failure.remedy
    };
    Error::refused(cause, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_row_holds_is_its_fault() {
        for code in ["23514", "23502", "22001", "22P02", "23P01", "23505", "P0001", "54000", "44000"] {
            assert!(is_of_the_row(code), "{code}");
        }
        for code in [
            "08006", "53100", "42501", "40P01", "42P01", "42703", "57014", "55P03", "XX001", "54001", "25P02",
        ] {
            assert!(!is_of_the_row(code), "{code}");
        }
    }
}
