//! Creates the objects of a schema model at the destination.
//!
//! ```text
//!  create_objects     schemas → types, sequences, routines, tables, views, … → defaults, comments  before the data
//!  finish_table       keys, exclusion and check constraints, indexes                        after a table's data
//!  create_after_data  triggers, rules, policies, what needs keys; then refresh              after all data
//!  retry              what has failed, once more                                            when it is asked for
//!  foreign_keys       the statements: who runs the changes knows when they may stand        after all data
//!  set_sequences      never backwards                                                       whenever values come
//! ```
//!
//! Each statement runs by itself, so that one object that cannot be created takes no other with it, and each
//! object's result is reported as it is known. Calling again after a crash continues: what stands already is
//! left as it is. The precheck has made sure that what has the same name is this task's own.
//!
//! An error is returned only where trying again may help, a lost connection or a deadlock; what the server
//! refuses for good is a failed object, with the server's words and the statement.

mod comments;
mod create;
mod ddl;
mod execute;
mod existing;
mod finish;
mod foreign_keys;
mod greenplum;
mod objects;
mod partitions;
mod refresh;
mod results;
mod retry;
mod sequence_values;

use strait_proto::v1;

pub(crate) use create::create_objects;
pub(crate) use finish::{add_constraints, complete_table, create_index, finish_table};
pub(crate) use foreign_keys::{ForeignKey, ForeignKeyState, foreign_key_state, foreign_keys};
pub(crate) use greenplum::for_dialect;
pub(crate) use objects::{after_data, create_after_data, placeholders};
pub(crate) use partitions::{Move, moves, places};
pub(crate) use refresh::refresh;
pub(crate) use results::Results;
pub(crate) use retry::{Again, retry};
pub(crate) use sequence_values::set_sequences;

/// What creating the schema came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SchemaOutcome {
    /// Tables that could not be created: the task cannot go on without them. Their results say why.
    pub(crate) failed_tables: Vec<v1::TableName>,
}

impl SchemaOutcome {
    /// Whether every table stands.
    pub(crate) fn is_complete(&self) -> bool {
        self.failed_tables.is_empty()
    }
}
