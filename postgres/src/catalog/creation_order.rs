//! The order of creation across all kinds, and what has to wait until the tables have their rows and keys.
//!
//! Views that need each other, directly or through a function, cannot be created one after the other: such a view stands twice
//! in the order, first as a placeholder of the same columns, then as itself.

use std::collections::{BTreeMap, BTreeSet};

use strait_proto::v1::{self, SchemaStage};

use super::Parts;
use super::dependencies::{Dependencies, Node};
use super::objects::Object;
use super::order::{cyclic, dependency_order};

/// Instead of a catalog's oid: a view that replaces its placeholder.
const REPLACEMENT: u32 = u32::MAX;

impl Parts {
    /// Numbers types, sequences and tables, and makes the model's objects of the rest.
    pub(super) fn in_creation_order(&mut self, dependencies: &Dependencies) -> Vec<v1::SchemaObject> {
        let order = Order::new(self, dependencies);
        for (oid, definition) in &mut self.types {
            definition.creation_order = order.place(Node::type_(*oid));
        }
        for (oid, sequence) in &mut self.sequences {
            sequence.creation_order = order.place(Node::relation(*oid));
        }
        for table in &mut self.tables {
            table.creation_order = order.place(Node::relation(table.table_id));
        }
        let relations = self.relation_names();
        let mut objects: Vec<v1::SchemaObject> = Vec::with_capacity(self.objects.len());
        for object in &self.objects {
            let tables = tables_of(object.node, &relations, dependencies);
            let definition = v1::SchemaObject {
                creation_order: order.place(object.node),
                relation: object.relation.and_then(|oid| relations.get(&oid).map(|(name, _)| name.clone())),
                ..object.definition(order.stage(object.node), tables, dependencies.columns(object.node))
            };
            let replacement = Node { class: REPLACEMENT, oid: object.node.oid };
            match object.placeholder.as_ref().filter(|_| order.places.contains_key(&replacement)) {
                Some(placeholder) => {
                    objects.push(v1::SchemaObject {
                        statements: placeholder.clone(),
                        placeholder: true,
                        stage: SchemaStage::BeforeData.into(),
                        ..definition.clone()
                    });
                    objects.push(v1::SchemaObject {
                        statements: object.replacing(),
                        creation_order: order.place(replacement),
                        stage: order.stage(replacement).into(),
                        ..definition
                    });
                }
                None => objects.push(definition),
            }
        }
        objects.sort_by_key(|object| object.creation_order);
        objects
    }

    /// Names of the tables and views taken by oid, and whether it is a table.
    fn relation_names(&self) -> BTreeMap<u32, (v1::TableName, bool)> {
        let name = |schema: &str, name: &str| v1::TableName::new(schema, name);
        let tables =
            self.tables.iter().map(|table| (table.table_id, (name(&table.schema, &table.name), true)));
        let views = self.objects.iter().filter(|object| object.node.is_relation());
        tables
            .chain(views.map(|object| (object.node.oid, (name(&object.schema, &object.name), false))))
            .collect()
    }
}

/// The tables that an object refers to, directly or through other objects.
fn tables_of(
    object: Node,
    relations: &BTreeMap<u32, (v1::TableName, bool)>,
    dependencies: &Dependencies,
) -> Vec<u32> {
    let is_table =
        |node: Node| node.is_relation() && relations.get(&node.oid).is_some_and(|(_, is_table)| *is_table);
    let mut tables = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut pending = vec![object];
    while let Some(next) = pending.pop() {
        if is_table(next) {
            tables.insert(next.oid);
        } else if seen.insert(next) {
            pending.extend(dependencies.before(next));
        }
    }
    tables.into_iter().collect()
}

/// Where each object stands.
struct Order {
    places: BTreeMap<Node, u32>,
    after_data: BTreeSet<Node>,
}

impl Order {
    fn new(parts: &Parts, dependencies: &Dependencies) -> Self {
        let mut nodes: Vec<Node> = parts.types.iter().map(|(oid, _)| Node::type_(*oid)).collect();
        nodes.extend(parts.sequences.iter().map(|(oid, _)| Node::relation(*oid)));
        let (views, others): (Vec<&Object>, Vec<&Object>) =
            parts.objects.iter().partition(|object| object.node.is_relation());
        let (acting, others): (Vec<&Object>, Vec<&Object>) =
            others.into_iter().partition(|object| object.acts_on_rows());
        nodes.extend(others.iter().map(|object| object.node));
        nodes.extend(parts.tables.iter().map(|table| Node::relation(table.table_id)));
        nodes.extend(views.iter().map(|object| object.node));
        nodes.extend(acting.iter().map(|object| object.node));

        let of_relation: BTreeMap<Node, u32> =
            parts.objects.iter().filter_map(|object| Some((object.node, object.relation?))).collect();
        let needs = |node: Node| -> Vec<Node> {
            let relation = of_relation.get(&node).copied().map(Node::relation);
            dependencies.before(node).chain(relation).collect()
        };
        let in_cycles = cyclic(&nodes, needs);
        let replaced: BTreeSet<Node> = views
            .iter()
            .filter(|view| view.placeholder.is_some() && in_cycles.contains(&view.node))
            .map(|view| view.node)
            .collect();
        let replacement = |node: Node| Node { class: REPLACEMENT, oid: node.oid };
        nodes.extend(replaced.iter().copied().map(replacement));
        let needs = |node: Node| -> Vec<Node> {
            if replaced.contains(&node) {
                // Its columns' types, not what its query calls or reads.
                needs(node).into_iter().filter(|need| need.is_type()).collect()
            } else if node.class == REPLACEMENT {
                let view = Node::relation(node.oid);
                needs(view).into_iter().chain([view]).collect()
            } else {
                needs(node)
            }
        };
        let ordered = dependency_order(&nodes, needs);

        let acting: BTreeSet<Node> = acting.iter().map(|object| object.node).collect();
        let mut after_data = BTreeSet::new();
        for node in &ordered {
            let itself = if node.class == REPLACEMENT { Node::relation(node.oid) } else { *node };
            let needs_key = dependencies.of(itself).iter().any(|need| need.key) && !replaced.contains(node);
            if acting.contains(node) || needs_key || needs(*node).iter().any(|it| after_data.contains(it)) {
                after_data.insert(*node);
            }
        }
        let places = ordered.into_iter().zip(1..).collect();
        Self { places, after_data }
    }

    /// From 1.
    fn place(&self, node: Node) -> u32 {
        self.places.get(&node).copied().unwrap_or_default()
    }

    fn stage(&self, node: Node) -> SchemaStage {
        if self.after_data.contains(&node) { SchemaStage::AfterData } else { SchemaStage::BeforeData }
    }
}
