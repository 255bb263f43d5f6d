//! Which object of the database needs which, and what belongs to extensions.

use std::collections::{BTreeSet, HashMap};

use strait_proto::v1;

use super::snapshot::Snapshot;
use crate::Error;

/// An object of any kind: the oid of its catalog, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    pub(super) class: u32,
    pub(super) oid: u32,
}

/// Fixed in every version (PostgreSQL, `pg_class.h`, `pg_type.h`).
const PG_CLASS: u32 = 1259;
const PG_TYPE: u32 = 1247;

impl Node {
    pub(super) const fn relation(oid: u32) -> Self {
        Self { class: PG_CLASS, oid }
    }

    /// A type that is no row type of a relation.
    pub(super) const fn type_(oid: u32) -> Self {
        Self { class: PG_TYPE, oid }
    }

    pub(super) const fn is_relation(self) -> bool {
        self.class == PG_CLASS
    }

    pub(super) const fn is_type(self) -> bool {
        self.class == PG_TYPE
    }
}

/// What an object needs of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) node: Node,
    /// It can stand without, for a while.
    pub(super) late: bool,
    /// It needs the keys of that table.
    pub(super) key: bool,
}

/// The needs of every object, see `dependencies.sql`.
#[derive(Default)]
pub(super) struct Dependencies {
    needs: HashMap<Node, Vec<Need>>,
    /// The place in `extensions`.
    members: HashMap<Node, usize>,
    extensions: Vec<v1::Requirement>,
    columns: HashMap<Node, Vec<v1::ColumnUse>>,
}

impl Dependencies {
    pub(super) async fn read(snapshot: &Snapshot<'_>) -> Result<Self, Error> {
        let mut dependencies = Self::default();
        for row in snapshot.query(include_str!("sql/dependencies.sql")).await? {
            let node = Node { class: row.try_get("class")?, oid: row.try_get("object")? };
            let needed = Node { class: row.try_get("needs_class")?, oid: row.try_get("needs")? };
            let need = Need { node: needed, late: row.try_get("late")?, key: row.try_get("needs_key")? };
            dependencies.needs.entry(node).or_default().push(need);
        }
        for row in snapshot.query(include_str!("sql/column_uses.sql")).await? {
            let node = Node { class: row.try_get("class")?, oid: row.try_get("object")? };
            let used =
                v1::ColumnUse { relation_id: row.try_get("relation")?, column: row.try_get("column")? };
            dependencies.columns.entry(node).or_default().push(used);
        }
        for row in snapshot.query(include_str!("sql/extension_members.sql")).await? {
            let name: String = row.try_get("extension")?;
            if dependencies.extensions.last().is_none_or(|last| last.name != name) {
                dependencies.extensions.push(v1::Requirement {
                    object_kind: "extension".to_owned(),
                    name,
                    version: row.try_get("version")?,
                    schema: row.try_get("schema")?,
                    needed_by: Vec::new(),
                });
            }
            let node = Node { class: row.try_get("class")?, oid: row.try_get("oid")? };
            dependencies.members.insert(node, dependencies.extensions.len() - 1);
        }
        Ok(dependencies)
    }

    pub(super) fn of(&self, node: Node) -> &[Need] {
        self.needs.get(&node).map_or(&[], Vec::as_slice)
    }

    /// The columns that an object's definition names.
    pub(super) fn columns(&self, node: Node) -> Vec<v1::ColumnUse> {
        self.columns.get(&node).cloned().unwrap_or_default()
    }

    /// What has to stand before `node` does.
    pub(super) fn before(&self, node: Node) -> impl Iterator<Item = Node> {
        self.of(node).iter().filter(|need| !need.late).map(|need| need.node)
    }

    /// The given objects and all that they need, directly or not.
    pub(super) fn closure(&self, nodes: impl IntoIterator<Item = Node>) -> BTreeSet<Node> {
        let mut closure = BTreeSet::new();
        let mut pending: Vec<Node> = nodes.into_iter().collect();
        while let Some(next) = pending.pop() {
            if closure.insert(next) {
                pending.extend(self.of(next).iter().map(|need| need.node));
            }
        }
        closure
    }

    /// The extension that an object belongs to.
    pub(super) fn extension(&self, node: Node) -> Option<&v1::Requirement> {
        self.members.get(&node).and_then(|place| self.extensions.get(*place))
    }
}
