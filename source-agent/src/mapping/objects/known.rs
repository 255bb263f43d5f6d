//! What a definition can mention whose name, columns or rows are others at the destination.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use strait_proto::v1;

use super::super::lexer::{Kind, Token, tokens};
use super::super::names::{Name, Names, TableMap};

/// A table or a view, and where its columns go.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Relation {
    pub(super) source: Name,
    pub(super) target: Name,
    /// Those of the source in order; None: left out.
    pub(super) columns: Vec<(String, Option<String>)>,
}

impl Relation {
    pub(super) fn column(&self, source: &str) -> Option<&Option<String>> {
        self.columns.iter().find(|(name, _)| name == source).map(|(_, target)| target)
    }

    /// Whether columns are called otherwise or left out.
    pub(super) fn is_changed(&self) -> bool {
        self.changed().next().is_some()
    }

    pub(super) fn lacks_columns(&self) -> bool {
        self.columns.iter().any(|(_, target)| target.is_none())
    }

    /// The source's names of columns that are called otherwise or left out.
    pub(super) fn changed(&self) -> impl Iterator<Item = &str> {
        let changed = |(name, target): &&(String, Option<String>)| target.as_ref() != Some(name);
        self.columns.iter().filter(changed).map(|(name, _)| &**name)
    }

    /// A name that more than one column would have.
    pub(super) fn doubled(&self) -> Option<&str> {
        let mut seen = BTreeSet::new();
        let mut targets = self.columns.iter().filter_map(|(_, target)| target.as_deref());
        targets.find(|target| !seen.insert(*target))
    }

    pub(super) fn is_renamed(&self) -> bool {
        self.columns.iter().any(|(name, target)| target.as_ref().is_some_and(|target| target != name))
    }
}

/// Everything that texts are followed by.
pub(super) struct Known<'a> {
    pub(super) names: &'a Names,
    pub(super) relations: BTreeMap<Name, Relation>,
    /// Functions, procedures and aggregates: the relations whose row types stand in their headers.
    pub(super) routines: BTreeMap<Name, BTreeSet<Name>>,
    /// The relations whose triggers call a function.
    pub(super) fired_by: BTreeMap<Name, BTreeSet<Name>>,
    /// Columns are chosen by their names, not by their places: the destination's table may have others in between.
    pub(super) by_name: bool,
}

impl<'a> Known<'a> {
    pub(super) fn new(
        names: &'a Names,
        source: &v1::SchemaModel,
        tables: &HashMap<u32, TableMap>,
        by_name: bool,
    ) -> Self {
        let mut relations = BTreeMap::new();
        for table in &source.tables {
            let Some(map) = tables.get(&table.table_id) else { continue };
            let name = (table.schema.clone(), table.name.clone());
            let target = (map.target.schema.clone(), map.target.name.clone());
            let columns = table.columns.iter().map(|it| (it.name.clone(), map.columns.target(&it.name)));
            relations.insert(name.clone(), Relation { source: name, target, columns: columns.collect() });
        }
        for view in source.objects.iter().filter(|object| is_view(object)) {
            let name = (view.schema.clone(), view.name.clone());
            let target = names.object(&view.schema, &view.name);
            let columns = view.columns.iter().map(|it| (it.clone(), Some(names.cased(it))));
            relations.insert(name.clone(), Relation { source: name, target, columns: columns.collect() });
        }
        let mut known =
            Self { names, relations, routines: BTreeMap::new(), fired_by: BTreeMap::new(), by_name };
        for object in &source.objects {
            match &*object.object_kind {
                "function" | "procedure" | "aggregate" => known.add_routine(object),
                "trigger" => known.add_trigger(object),
                _ => {}
            }
        }
        known
    }

    fn add_routine(&mut self, object: &v1::SchemaObject) {
        let header: Vec<Token<'_>> =
            significant(&object.statements).into_iter().take_while(|it| !it.is("AS")).collect();
        let rows = pairs(&header).into_iter().filter(|name| self.relations.contains_key(name)).collect();
        if let Some(name) = pairs(&header).into_iter().next() {
            let known: &mut BTreeSet<Name> = self.routines.entry(name).or_default();
            known.extend::<BTreeSet<Name>>(rows);
        }
    }

    fn add_trigger(&mut self, object: &v1::SchemaObject) {
        let Some(relation) = &object.relation else { return };
        let tokens = significant(&object.statements);
        let call = tokens.iter().position(|it| it.is("EXECUTE"));
        if let Some(name) = call.and_then(|call| pairs(&tokens[call..]).into_iter().next()) {
            let relation = (relation.schema.clone(), relation.name.clone());
            self.fired_by.entry(name).or_default().insert(relation);
        }
    }

    pub(super) fn relation(&self, name: &Name) -> Option<&Relation> {
        self.relations.get(name)
    }

    /// Whether something goes by this name that texts can mention.
    pub(super) fn is_object(&self, name: &Name) -> bool {
        self.relations.contains_key(name) || self.names.knows(name)
    }

    /// Whether a field of this name may be one of a row that has it otherwise here.
    pub(super) fn is_changed_field(&self, field: &str) -> bool {
        self.relations.values().any(|relation| relation.changed().any(|it| it == field))
    }
}

pub(super) fn is_view(object: &v1::SchemaObject) -> bool {
    matches!(&*object.object_kind, "view" | "materialized view")
}

/// The tokens of a deparsed text, without spaces.
pub(super) fn significant(text: &str) -> Vec<Token<'_>> {
    tokens(text).into_iter().filter(|it| it.kind != Kind::Space).collect()
}

/// `schema.name` wherever it stands.
fn pairs(tokens: &[Token<'_>]) -> Vec<Name> {
    let pair = |it: &[Token<'_>]| {
        (it[0].is_identifier() && it[1].is(".") && it[2].is_identifier())
            .then(|| (it[0].name(), it[2].name()))
    };
    tokens.windows(3).filter_map(pair).collect()
}
