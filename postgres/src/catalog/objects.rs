//! Everything whose definition is a text of SQL: views, routines, triggers, operators and the rest.
//!
//! Each kind has its query, which makes the statements out of PostgreSQL's own deparse functions; all of them have the same
//! columns. An object is taken because its schema is, because it belongs to a table or a view that is taken, or because
//! something that is taken needs it.

use std::collections::{BTreeMap, BTreeSet};

use strait_proto::object_kind::is_wanted;
use strait_proto::v1::{self, SchemaStage};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::dependencies::{Dependencies, Node};
use super::inventory::Inventory;
use super::relations::Relations;
use super::selection::Selection;
use super::snapshot::Snapshot;
use super::{Skipped, not_wanted, text};
use crate::{Error, quote};

/// One a kind, in the order in which objects are created that do not need each other.
const QUERIES: [&str; 15] = [
    include_str!("sql/collations.sql"),
    include_str!("sql/routines.sql"),
    include_str!("sql/operators.sql"),
    include_str!("sql/operator_families.sql"),
    include_str!("sql/operator_classes.sql"),
    include_str!("sql/aggregates.sql"),
    include_str!("sql/casts.sql"),
    include_str!("sql/text_search_dictionaries.sql"),
    include_str!("sql/text_search_configurations.sql"),
    include_str!("sql/statistics.sql"),
    include_str!("sql/views.sql"),
    include_str!("sql/view_indexes.sql"),
    include_str!("sql/rules.sql"),
    include_str!("sql/triggers.sql"),
    include_str!("sql/policies.sql"),
];

/// An object of the database that can be carried.
pub(super) struct Object {
    pub(super) node: Node,
    pub(super) kind: String,
    pub(super) schema: String,
    pub(super) name: String,
    /// Without arguments, for the selection.
    plain_name: String,
    statements: String,
    /// A view of the same columns that needs nothing else.
    pub(super) placeholder: Option<String>,
    /// The table or view that it goes with.
    pub(super) relation: Option<u32>,
    note: String,
    /// Why it is left out although it could be carried.
    held_back: Option<String>,
    pub(super) language: Option<String>,
    /// Of a view, in order.
    columns: Vec<String>,
}

/// All of them.
pub(super) struct Objects {
    found: Vec<Object>,
}

impl Objects {
    pub(super) async fn read(snapshot: &Snapshot<'_>, selection: &Selection) -> Result<Self, Error> {
        let with_comments = selection.kind("comment");
        let mut found = Vec::new();
        for query in QUERIES {
            for row in snapshot.query(query).await? {
                found.extend(Object::read(&row, with_comments)?);
            }
        }
        Ok(Self { found })
    }

    /// Those that are asked for or needed, in the order in which they were read. `types` are taken too.
    pub(super) fn choose(
        self,
        inventory: &Inventory,
        selection: &Selection,
        relations: &Relations,
        types: BTreeSet<Node>,
        dependencies: &Dependencies,
        skipped: &mut Skipped,
    ) -> Vec<Object> {
        let mut taken = self.asked_for(inventory, selection);
        taken.extend(types);
        self.follow(selection, relations, dependencies, &mut taken);
        self.note_unwanted(inventory, selection, &taken, skipped);
        self.note_of_leaves(relations, skipped);
        let mut objects: Vec<Object> =
            self.found.into_iter().filter(|object| taken.contains(&object.node)).collect();
        for object in objects.extract_if(.., |object| object.held_back.is_some()) {
            skipped.push(&object.kind, &object.schema, object.name, object.held_back.unwrap_or_default());
        }
        objects
    }

    /// What whole schemas bring.
    fn asked_for(&self, inventory: &Inventory, selection: &Selection) -> BTreeSet<Node> {
        let asked_for = |object: &&Object| {
            object.relation.is_none()
                && selection.kind(&object.kind)
                && selection.object(&object.schema, &object.plain_name)
                && !inventory.is_extension_schema(&object.schema)
        };
        self.found.iter().filter(asked_for).map(|object| object.node).collect()
    }

    /// What goes with the tables and views, what all of that needs, and casts between what is there then; until nothing is
    /// added. Views come only where they are asked for: they are nobody's part.
    fn follow(
        &self,
        selection: &Selection,
        relations: &Relations,
        dependencies: &Dependencies,
        taken: &mut BTreeSet<Node>,
    ) {
        let tables: BTreeSet<Node> = relations.tables.keys().copied().map(Node::relation).collect();
        loop {
            let before = taken.len();
            let goes_along = |object: &&Object| {
                let Some(relation) = object.relation.map(Node::relation) else { return false };
                (tables.contains(&relation) || taken.contains(&relation)) && selection.kind(&object.kind)
            };
            let along: Vec<Node> = self.found.iter().filter(goes_along).map(|object| object.node).collect();
            taken.extend(along);
            let needed = dependencies.closure(tables.iter().chain(&*taken).copied());
            let is_needed = |object: &&Object| {
                let of_type = object.kind == "cast"
                    && selection.kind("cast")
                    && dependencies.before(object.node).any(|need| needed.contains(&need));
                of_type
                    || object.relation.is_none()
                        && object.placeholder.is_none()
                        && !object.node.is_relation()
                        && needed.contains(&object.node)
            };
            let more: Vec<Node> = self.found.iter().filter(is_needed).map(|object| object.node).collect();
            taken.extend(more);
            if taken.len() == before {
                return;
            }
        }
    }

    /// One line a kind for what `object_kinds` leaves out.
    fn note_unwanted(
        &self,
        inventory: &Inventory,
        selection: &Selection,
        taken: &BTreeSet<Node>,
        skipped: &mut Skipped,
    ) {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for object in self.found.iter().filter(|object| !selection.kind(&object.kind)) {
            let of_schema = selection.object(&object.schema, &object.plain_name)
                && !inventory.is_extension_schema(&object.schema);
            if of_schema && !taken.contains(&object.node) {
                *counts.entry((&object.kind, &object.schema)).or_default() += 1;
            }
        }
        for ((kind, schema), count) in counts {
            skipped.push(kind, schema, "", not_wanted(count));
        }
    }

    fn note_of_leaves(&self, relations: &Relations, skipped: &mut Skipped) {
        let of_leaf =
            |object: &&Object| object.relation.is_some_and(|it| relations.leaf_of.contains_key(&it));
        for object in self.found.iter().filter(of_leaf) {
            let reason = "only this partition has it, and the partitions become one table";
            skipped.push(&object.kind, &object.schema, &object.name, reason);
        }
    }
}

impl Object {
    /// None: it was dropped a moment ago.
    fn read(row: &Row, with_comments: bool) -> Result<Option<Self>, Error> {
        let Some(mut statements) = row.try_get::<_, Option<String>>("statements")? else { return Ok(None) };
        if let Some(comment) = row.try_get::<_, Option<String>>("comment")?.filter(|_| with_comments) {
            let comment_on: String = row.try_get("comment_on")?;
            statements.push_str(&format!(";\nCOMMENT ON {comment_on} IS {}", quote::literal(&comment)));
        }
        Ok(Some(Self {
            node: Node { class: row.try_get("class")?, oid: row.try_get("oid")? },
            kind: row.try_get("kind")?,
            schema: text(row, "schema")?,
            name: row.try_get("name")?,
            plain_name: row.try_get("plain_name")?,
            statements,
            placeholder: optional(row, "placeholder")?,
            relation: optional(row, "relation")?,
            note: optional(row, "note")?.unwrap_or_default(),
            held_back: optional(row, "held_back")?,
            language: optional(row, "language")?,
            columns: optional(row, "columns")?.unwrap_or_default(),
        }))
    }

    /// Whether it has to wait until the tables have their rows whatever it needs: it would fire, or bind who writes.
    pub(super) fn acts_on_rows(&self) -> bool {
        matches!(
            &*self.kind,
            "trigger" | "rule" | "policy" | "row security" | "forced row security" | "index"
        )
    }

    pub(super) fn definition(
        &self,
        stage: SchemaStage,
        tables: Vec<u32>,
        column_uses: Vec<v1::ColumnUse>,
    ) -> v1::SchemaObject {
        v1::SchemaObject {
            object_kind: self.kind.clone(),
            schema: self.schema.clone(),
            name: self.name.clone(),
            statements: self.statements.clone(),
            stage: stage.into(),
            creation_order: 0,
            placeholder: false,
            relation: None,
            note: self.note.clone(),
            table_ids: tables,
            columns: self.columns.clone(),
            column_uses,
        }
    }

    /// The statements where a placeholder stands already.
    pub(super) fn replacing(&self) -> String {
        match self.statements.strip_prefix("CREATE VIEW ") {
            Some(rest) => format!("CREATE OR REPLACE VIEW {rest}"),
            None => self.statements.clone(),
        }
    }
}

/// A column that not every kind's query has.
fn optional<'row, T: FromSql<'row>>(row: &'row Row, column: &str) -> Result<Option<T>, Error> {
    let exists = row.columns().iter().any(|it| it.name() == column);
    if exists { Ok(row.try_get(column)?) } else { Ok(None) }
}

impl Selection {
    /// Whether the task's `object_kinds` let this kind through.
    pub(super) fn kind(&self, kind: &str) -> bool {
        // Switching row security on goes with its policies.
        let kind = if kind.ends_with("row security") { "policy" } else { kind };
        is_wanted(self.kinds(), kind)
    }
}
