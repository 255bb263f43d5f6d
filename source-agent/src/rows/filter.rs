//! A table's `where`: the text of a condition in SQL, and which columns it may use.
//!
//! The text is never parsed here, only by the server. What has to be known without it, whether a column is used, is answered
//! too often rather than too seldom.

use strait_proto::v1::TableName;
use tokio_postgres::error::SqlState;

use crate::error::RunError;

/// What a row is called within a condition's query, so that nothing but columns can be named in it: a reference to the table
/// as a whole would mean more columns than are there.
pub(crate) const ROW_ALIAS: &str = "strait_row";
/// The column of a gathered row that says which one it is.
pub(super) const POSITION: &str = "strait_position";
/// What a condition must not contain.
pub(crate) const RESERVED_NAMES: [&str; 2] = [ROW_ALIAS, POSITION];

/// A condition on the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    condition: String,
    /// For looking for names in it.
    folded: String,
}

impl Filter {
    pub(crate) fn new(condition: String) -> Self {
        Self { folded: condition.to_lowercase(), condition }
    }

    /// As the task has it.
    pub(crate) fn condition(&self) -> &str {
        &self.condition
    }

    /// In parentheses of its own; a comment at its end ends with its line.
    pub(crate) fn sql(&self) -> String {
        format!("(\n{}\n)", self.condition)
    }

    /// In brackets: what is an expression here and in parentheses too is balanced, and so one expression.
    pub(crate) fn in_brackets(&self) -> String {
        format!("((ARRAY[\n{}\n])[1])", self.condition)
    }

    /// Whether it may use a column: its text contains the name.
    pub(crate) fn may_use(&self, column: &str) -> bool {
        self.folded.contains(&column.replace('"', "\"\"").to_lowercase())
    }
}

/// What an error of the server means for a condition that it evaluated; None where the error is about something else. The
/// server's words may quote values, so only its code is told.
pub(crate) fn not_evaluated(table: &TableName, code: &SqlState) -> Option<RunError> {
    const CLASSES: [&str; 3] = ["22", "P0", "38"];
    let code = code.code();
    CLASSES.iter().any(|class| code.starts_with(class)).then(|| {
        RunError::definite(
            format!("{table}: its condition (`where`) cannot be evaluated on one of its rows: SQLSTATE {code}"),
            "Mend the row at the source, or release the task and start it with a condition that every row can be tested \
             with, such as one within CASE WHEN … THEN … END.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_that_a_condition_can_name_counts_as_used() {
        for (condition, column, used) in [
            ("total > 0", "total", true),
            ("TOTAL > 0", "total", true),
            ("\"Total\" > 0", "Total", true),
            ("total > 0", "subtotal", false),
            ("\"a \"\"b\"\"\" = 1", "a \"b\"", true),
            ("größe = 'groß'", "größe", true),
            // Rather too often than too seldom.
            ("note = 'total'", "total", true),
        ] {
            assert_eq!(Filter::new(condition.into()).may_use(column), used, "{condition}: {column}");
        }
    }

    #[test]
    fn only_what_a_row_can_cause_counts_as_not_evaluated() {
        let table = TableName::new("s", "t");
        for (code, counts) in [
            (SqlState::DIVISION_BY_ZERO, true),
            (SqlState::RAISE_EXCEPTION, true),
            (SqlState::ADMIN_SHUTDOWN, false),
        ] {
            assert_eq!(not_evaluated(&table, &code).is_some(), counts, "{code:?}");
        }
    }
}
