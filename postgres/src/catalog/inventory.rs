//! The schemas and tables of the database, selected or not, and who inherits from whom.

use std::collections::BTreeMap;

use strait_proto::v1::{ReplicaIdentity, TableName};
use tokio_postgres::Row;

use super::selection::Selection;
use super::snapshot::Snapshot;
use crate::Error;

/// All that a selection chooses from.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) schemas: Vec<Schema>,
    /// By oid.
    pub(super) relations: BTreeMap<u32, Relation>,
    /// Parents in order, by the child's oid.
    pub(super) parents: BTreeMap<u32, Vec<u32>>,
    /// By the parent's oid.
    pub(super) children: BTreeMap<u32, Vec<u32>>,
}

pub(super) struct Schema {
    pub(super) oid: u32,
    pub(super) name: String,
    pub(super) extension: Option<String>,
}

#[derive(Clone)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) name: TableName,
    pub(super) row_type: u32,
    pub(super) kind: RelationKind,
    pub(super) unlogged: bool,
    pub(super) is_partition: bool,
    /// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY` has begun.
    pub(super) detaching: bool,
    pub(super) replica_identity: ReplicaIdentity,
    pub(super) estimated_rows: u64,
    /// Set for a typed table.
    pub(super) of_type: Option<String>,
    pub(super) extension: Option<String>,
    pub(super) storage_parameters: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RelationKind {
    Table,
    Partitioned,
    Foreign,
}

impl Inventory {
    pub(super) async fn read(snapshot: &Snapshot<'_>) -> Result<Self, Error> {
        let mut inventory = Self::default();
        for row in snapshot.query(include_str!("sql/schemas.sql")).await? {
            inventory.schemas.push(Schema {
                oid: row.try_get("oid")?,
                name: row.try_get("schema")?,
                extension: row.try_get("extension")?,
            });
        }
        for row in snapshot.query(include_str!("sql/relations.sql")).await? {
            let relation = Relation::read(&row)?;
            inventory.relations.insert(relation.oid, relation);
        }
        for row in snapshot.query(include_str!("sql/inheritance.sql")).await? {
            let (child, parent): (u32, u32) = (row.try_get("child")?, row.try_get("parent")?);
            inventory.parents.entry(child).or_default().push(parent);
            inventory.children.entry(parent).or_default().push(child);
            if let Some(relation) = inventory.relations.get_mut(&child) {
                relation.detaching = row.try_get("detaching")?;
            }
        }
        Ok(inventory)
    }

    /// The schemas of which everything was asked for. An extension's schema comes with the extension.
    pub(super) fn whole_schemas<'a>(&'a self, selection: &'a Selection) -> impl Iterator<Item = &'a Schema> {
        self.schemas
            .iter()
            .filter(|schema| schema.extension.is_none() && selection.whole_schema(&schema.name))
    }

    pub(super) fn is_extension_schema(&self, name: &str) -> bool {
        self.schemas.iter().any(|schema| schema.name == name && schema.extension.is_some())
    }

    pub(super) fn parents_of(&self, oid: u32) -> &[u32] {
        self.parents.get(&oid).map_or(&[], Vec::as_slice)
    }

    pub(super) fn children_of(&self, oid: u32) -> &[u32] {
        self.children.get(&oid).map_or(&[], Vec::as_slice)
    }

    /// The partitioned tables above a partition, nearest first.
    pub(super) fn ancestors_of(&self, partition: &Relation) -> Vec<&Relation> {
        let mut ancestors = Vec::new();
        let mut below = partition;
        while below.is_partition
            && let Some(above) = self.parents_of(below.oid).first().and_then(|oid| self.relations.get(oid))
        {
            ancestors.push(above);
            below = above;
        }
        ancestors
    }
}

impl Relation {
    fn read(row: &Row) -> Result<Self, Error> {
        let kind = match &*row.try_get::<_, String>("kind")? {
            "p" => RelationKind::Partitioned,
            "f" => RelationKind::Foreign,
            _ => RelationKind::Table,
        };
        let replica_identity = match &*row.try_get::<_, String>("replica_identity")? {
            "d" if row.try_get("has_primary_key")? => ReplicaIdentity::PrimaryKey,
            "i" if row.try_get("has_identity_index")? => ReplicaIdentity::Index,
            "f" => ReplicaIdentity::Full,
            _ => ReplicaIdentity::None,
        };
        Ok(Self {
            oid: row.try_get("oid")?,
            name: TableName { schema: row.try_get("schema")?, name: row.try_get("name")? },
            row_type: row.try_get("row_type")?,
            kind,
            unlogged: row.try_get::<_, String>("persistence")? == "u",
            is_partition: row.try_get("is_partition")?,
            detaching: false,
            replica_identity,
            // −1 stands for unknown; the cast saturates and takes what is not a number for 0.
            estimated_rows: row.try_get::<_, f64>("estimated_rows")? as u64,
            of_type: row.try_get("of_type")?,
            extension: row.try_get("extension")?,
            storage_parameters: row.try_get("storage_parameters")?,
        })
    }
}
