//! What a task remembers at its source: the comment of its publication, as JSON.
//!
//! It lives and dies with the publication and is changed in the same transaction as what it records, so no crash can
//! separate the two.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strait_postgres::{Client, Error, PublicationName, quote};
use strait_proto::v1;

use crate::transform::TransformText;

/// The record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// For people who look at the comment.
    #[serde(default)]
    note: String,
    /// Tables whose REPLICA IDENTITY was changed to FULL, and what it was before.
    #[serde(default)]
    pub(crate) identities: Vec<IdentityRecord>,
    /// The leaves of each flattened table since it began, by the table's oid.
    #[serde(default)]
    pub(crate) leaves: BTreeMap<u32, Vec<LeafRecord>>,
    /// The conditions that the rows of tables began with, by the table's oid.
    #[serde(default)]
    pub(crate) filters: BTreeMap<u32, String>,
    /// The rules that the rows of tables began with, by the table's oid.
    #[serde(default)]
    pub(crate) transforms: BTreeMap<u32, TransformText>,
}

/// A replica identity before it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdentityRecord {
    pub(crate) relation_id: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) identity: Identity,
}

/// What ALTER TABLE … REPLICA IDENTITY takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Identity {
    Default,
    Nothing,
    Full,
    /// The index's name.
    Index(String),
}

/// A leaf partition that belongs, or belonged, to a flattened table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeafRecord {
    pub(crate) relation_id: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Its rows as a condition on the table's columns; empty where it cannot be written so.
    #[serde(default)]
    pub(crate) bounds: String,
    /// The transactions that attached it and what is between it and the table: another one has attached it again since.
    #[serde(default)]
    pub(crate) attached_by: String,
    /// Detached or dropped since. It is kept because its older changes may still come.
    #[serde(default)]
    pub(crate) gone: bool,
}

impl From<&v1::Leaf> for LeafRecord {
    fn from(leaf: &v1::Leaf) -> Self {
        Self {
            relation_id: leaf.relation_id,
            schema: leaf.schema.clone(),
            name: leaf.name.clone(),
            bounds: leaf.bounds_expression.clone(),
            attached_by: String::new(),
            gone: false,
        }
    }
}

impl Identity {
    /// As it stands after REPLICA IDENTITY.
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Default => "DEFAULT".to_owned(),
            Self::Nothing => "NOTHING".to_owned(),
            Self::Full => "FULL".to_owned(),
            Self::Index(name) => format!("USING INDEX {}", quote::identifier(name)),
        }
    }
}

impl IdentityRecord {
    /// The statement that brings the identity back.
    pub(crate) fn restore_sql(&self) -> String {
        let table = quote::qualified(&self.schema, &self.name);
        format!("ALTER TABLE ONLY {table} REPLICA IDENTITY {};", self.identity.sql())
    }
}

impl Record {
    const NOTE: &str = "kept by Strait: replica identities to restore, known partitions, conditions on rows and rules for them";
    /// The comment of a publication. NULL where it has none; no row where there is no publication.
    const READ: &str =
        "SELECT obj_description(oid, 'pg_publication') AS comment FROM pg_publication WHERE pubname = $1";

    /// What it says of partitions and rows.
    pub(crate) fn of_rows(
        leaves: BTreeMap<u32, Vec<LeafRecord>>,
        filters: BTreeMap<u32, String>,
        transforms: BTreeMap<u32, TransformText>,
    ) -> Self {
        Self { leaves, filters, transforms, ..Self::default() }
    }

    /// Reads the record. None where there is no publication; an empty one where it has no comment, and where the comment
    /// is not ours, which the second value tells.
    pub(crate) async fn read(
        client: &Client,
        publication: &PublicationName,
    ) -> Result<Option<(Self, bool)>, Error> {
        let Some(row) = client.query_opt(Self::READ, &[&publication.as_str()]).await? else {
            return Ok(None);
        };
        let comment: Option<String> = row.try_get("comment")?;
        Ok(Some(match comment {
            None => (Self::default(), true),
            Some(comment) => {
                serde_json::from_str(&comment).map_or((Self::default(), false), |record| (record, true))
            }
        }))
    }

    /// The statement that writes it.
    pub(crate) fn write_sql(&self, publication: &PublicationName) -> Result<String, Error> {
        let record = Self { note: Self::NOTE.to_owned(), ..self.clone() };
        let json = serde_json::to_string(&record)
            .map_err(|error| Error::refused(format!("write the record of {publication}: {error}"), ""))?;
        let name = quote::identifier(publication.as_str());
        Ok(format!("COMMENT ON PUBLICATION {name} IS {}", quote::literal(&json)))
    }

    /// The identity of a table before it was changed, if it was.
    pub(crate) fn identity(&self, relation_id: u32) -> Option<&IdentityRecord> {
        self.identities.iter().find(|entry| entry.relation_id == relation_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_comment() {
        let mut record = Record::default();
        record.identities.push(IdentityRecord {
            relation_id: 7,
            schema: "s".into(),
            name: "it's".into(),
            identity: Identity::Index("the \"index\"".into()),
        });
        let leaf = v1::Leaf { relation_id: 8, bounds_expression: "(id >= 1)".into(), ..Default::default() };
        record.leaves.insert(6, vec![LeafRecord::from(&leaf)]);
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }

    #[test]
    fn identities_are_restored_as_they_were() {
        for (identity, sql) in [
            (Identity::Default, "DEFAULT"),
            (Identity::Nothing, "NOTHING"),
            (Identity::Full, "FULL"),
            (Identity::Index("i".into()), "USING INDEX \"i\""),
        ] {
            let record = IdentityRecord { relation_id: 1, schema: "s".into(), name: "t".into(), identity };
            assert_eq!(record.restore_sql(), format!("ALTER TABLE ONLY \"s\".\"t\" REPLICA IDENTITY {sql};"));
        }
    }
}
