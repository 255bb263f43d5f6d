//! Tables that the destination cannot take: their changes are left out from a transaction on, and the others go on.
//!
//! The mark commits with the position, so that it is certain which changes were left out: all of that transaction
//! and after it. Nothing of them is missed later, because the table begins over under a snapshot of its own.

use strait_postgres::Client;
use strait_proto::v1::{TableIssue, TableIssueKind, TableName};

use super::target::Target;
use crate::error::Error;

/// What a table lacks when a change of it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspension {
    pub(crate) table_id: u32,
    pub(crate) table: TableName,
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

impl Suspension {
    /// For the task's status.
    pub(crate) fn issue(&self) -> TableIssue {
        TableIssue {
            table: Some(self.table.clone()),
            kind: TableIssueKind::Suspended.into(),
            reason: self.reason.clone(),
            remedy: self.remedy.clone(),
        }
    }
}

/// The columns that a table has now; none where there is no such table.
pub(crate) async fn present_columns(client: &Client, table: &TableName) -> Result<Vec<String>, Error> {
    match Target::load(client, table).await {
        Ok(target) => Ok(target.columns.into_iter().map(|column| column.name).collect()),
        Err(Error::Refused(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
