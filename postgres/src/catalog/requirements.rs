//! What the objects taken need of extensions and languages, which are not carried: the destination must have them.

use std::collections::BTreeMap;

use strait_proto::v1;

use super::Parts;
use super::dependencies::{Dependencies, Node};

/// Every server has these.
const USUAL_LANGUAGES: [&str; 2] = ["sql", "plpgsql"];
/// So many of the objects that need something are named.
const NAMED_MAX: usize = 5;

pub(super) fn of(dependencies: &Dependencies, parts: &Parts) -> Vec<v1::Requirement> {
    let mut found: BTreeMap<(String, String), v1::Requirement> = BTreeMap::new();
    let mut require = |requirement: v1::Requirement, needed_by: &str| {
        let key = (requirement.object_kind.clone(), requirement.name.clone());
        let needed = &mut found.entry(key).or_insert(requirement).needed_by;
        if needed.len() < NAMED_MAX && !needed.iter().any(|it| it == needed_by) {
            needed.push(needed_by.to_owned());
        }
    };
    for (node, name) in parts.named() {
        for need in dependencies.of(node) {
            if let Some(extension) = dependencies.extension(need.node) {
                require(extension.clone(), &name);
            }
        }
    }
    for object in &parts.objects {
        if let Some(language) = object.language.as_ref().filter(|it| !USUAL_LANGUAGES.contains(&&***it)) {
            let language = v1::Requirement {
                object_kind: "language".to_owned(),
                name: language.clone(),
                ..Default::default()
            };
            require(language, &format!("{} {}.{}", object.kind, object.schema, object.name));
        }
    }
    found.into_values().collect()
}

impl Parts {
    /// Everything taken, with a name for people.
    fn named(&self) -> impl Iterator<Item = (Node, String)> {
        let types =
            self.types.iter().map(|(oid, it)| (Node::type_(*oid), format!("type {}.{}", it.schema, it.name)));
        let tables = self
            .tables
            .iter()
            .map(|it| (Node::relation(it.table_id), format!("table {}.{}", it.schema, it.name)));
        let objects =
            self.objects.iter().map(|it| (it.node, format!("{} {}.{}", it.kind, it.schema, it.name)));
        types.chain(tables).chain(objects)
    }
}
