//! The destination's schema model out of the source's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::user_type::Definition;
use strait_proto::v1::{self, ConstraintKind, TableName};

use super::Mapping;
use super::distribution::distribute;
use super::expression::{self, Refusal, key_columns};
use super::inputs::inputs;
use super::names::{ExtensionMembers, Names, TableMap};
use super::objects::{self, Objects};
use crate::transform::{Added, Program};

/// What the destination is to have, and how each table leads there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapped {
    /// Under the destination's names. `table_id`, leaves and what was skipped are the source's.
    pub(crate) model: v1::SchemaModel,
    tables: HashMap<u32, TableMap>,
    names: Arc<Names>,
}

impl Mapping {
    /// [`apply`](Self::apply), once the catalog was asked for what that needs, if it needs anything.
    pub(crate) async fn read_and_apply(
        &self,
        client: &Client,
        source: &v1::SchemaModel,
        begun: &[v1::TableState],
    ) -> Result<Mapped, Error> {
        let members = if self.is_identity() {
            ExtensionMembers::default()
        } else {
            ExtensionMembers::read(client).await?
        };
        Ok(self.apply(source, members, begun))
    }

    /// Applies the rules to a model of the source. `begun` are the tables that the destination has already.
    pub(crate) fn apply(
        &self,
        source: &v1::SchemaModel,
        members: ExtensionMembers,
        begun: &[v1::TableState],
    ) -> Mapped {
        self.learn(source);
        let stands = |state: &v1::TableState| Some((state.table_id, state.table.clone()?));
        let stand: HashMap<u32, TableName> = begun.iter().filter_map(stands).collect();
        let names = Arc::new(Names::new(self, source, members, &stand));
        let map = |table: &v1::Table| {
            let name = table.table_name();
            let begun = stand.get(&table.table_id);
            let rules = self.rules_name(&name, begun);
            let target = begun.cloned().unwrap_or_else(|| self.target(&name));
            let columns = self.column_map(&rules);
            let added = self.added(&rules, table);
            (table.table_id, TableMap { source: name, target, columns, added, names: Arc::clone(&names) })
        };
        let tables: HashMap<u32, TableMap> = source.tables.iter().map(map).collect();
        let mut mapped = Mapped { model: v1::SchemaModel::default(), tables, names };
        mapped.model = if self.is_identity() { source.clone() } else { mapped.destination(self, source) };
        mapped.add_columns();
        let Mapped { model, tables, .. } = &mut mapped;
        for table in &mut model.tables {
            if let Some(map) = tables.get(&table.table_id) {
                distribute(table, map, self.options(&map.source));
            }
        }
        mapped
    }

    /// The columns that rules add to a table. Where they do not compile, whoever applies them says so.
    fn added(&self, rules: &TableName, table: &v1::Table) -> Vec<Added> {
        let text = self.transform(rules, table);
        let program = text.map(|text| Program::compile(&text, &inputs(table, &self.column_map(rules))));
        program.and_then(Result::ok).map(|program| program.added).unwrap_or_default()
    }
}

impl Mapped {
    /// What a table of the source becomes; None for one that is not in the model.
    pub(crate) fn table(&self, table_id: u32) -> Option<&TableMap> {
        self.tables.get(&table_id)
    }

    /// Gives the destination's tables the columns that rules add.
    fn add_columns(&mut self) {
        for table in &mut self.model.tables {
            let Some(map) = self.tables.get(&table.table_id) else { continue };
            for added in &map.added {
                let Some(name) = map.columns.target(&added.name) else { continue };
                let type_name = added.type_name.clone();
                table.columns.push(v1::Column { name, type_name, local: true, ..Default::default() });
            }
        }
    }

    /// The destination's name of a sequence.
    pub(crate) fn sequence(&self, source: &TableName) -> TableName {
        let (schema, name) = self.names.object(&source.schema, &source.name);
        TableName::new(schema, name)
    }

    fn destination(&self, mapping: &Mapping, source: &v1::SchemaModel) -> v1::SchemaModel {
        let by_name: BTreeMap<(&str, &str), &TableMap> =
            self.tables.values().map(|map| ((&*map.source.schema, &*map.source.name), map)).collect();
        let mut skipped = source.skipped.clone();
        let mut tables: Vec<v1::Table> = source
            .tables
            .iter()
            .filter_map(|table| {
                let map = self.tables.get(&table.table_id)?;
                let mut maker = TableMaker { map, mapping, by_name: &by_name, skipped: &mut skipped };
                Some(maker.make(table))
            })
            .collect();
        mapping.merge(source, &mut tables);
        let types: Vec<v1::UserType> = source.types.iter().map(|it| self.user_type(mapping, it)).collect();
        let mut sequences: Vec<v1::Sequence> =
            source.sequences.iter().map(|it| self.owned_sequence(it, &by_name)).collect();
        let Objects { objects, comments, skipped: not_followed } = objects::follow(
            source,
            &self.names,
            &self.tables,
            &mapping.merged(source),
            mapping.tables_may_exist,
        );
        skipped.extend(not_followed);
        let mut names = BTreeSet::new();
        // Those of merged tables may be one, too.
        sequences.retain(|it| names.insert((it.schema.clone(), it.name.clone())));
        let mut schemas: BTreeSet<String> = tables.iter().map(|it| it.schema.clone()).collect();
        schemas.extend(types.iter().map(|it| it.schema.clone()));
        schemas.extend(sequences.iter().map(|it| it.schema.clone()));
        schemas.extend(objects.iter().map(|it| it.schema.clone()).filter(|it| !it.is_empty()));
        schemas
            .extend(source.schemas.iter().filter(|it| mapping.takes_all_of(it)).map(|it| mapping.schema(it)));
        let schemas = schemas.into_iter().collect();
        let requirements = source.requirements.clone();
        v1::SchemaModel { schemas, types, sequences, tables, skipped, objects, comments, requirements }
    }

    fn owned_sequence(
        &self,
        sequence: &v1::Sequence,
        by_name: &BTreeMap<(&str, &str), &TableMap>,
    ) -> v1::Sequence {
        let (schema, name) = self.names.object(&sequence.schema, &sequence.name);
        let owner = sequence.owner_table.as_ref();
        let owner = owner.and_then(|owner| by_name.get(&(&*owner.schema, &*owner.name)));
        // A sequence whose column is left out stands for itself.
        let owner =
            owner.and_then(|map| Some((map.target.clone(), map.columns.target(&sequence.owner_column)?)));
        let (owner_table, owner_column) = owner.unzip();
        let owner_column = owner_column.unwrap_or_default();
        v1::Sequence { schema, name, owner_table, owner_column, ..sequence.clone() }
    }

    fn user_type(&self, mapping: &Mapping, user_type: &v1::UserType) -> v1::UserType {
        let (schema, name) = self.names.object(&user_type.schema, &user_type.name);
        let mut user_type = v1::UserType { schema, name, ..user_type.clone() };
        match &mut user_type.definition {
            Some(Definition::Composite(composite)) => {
                for attribute in &mut composite.attributes {
                    attribute.type_name = self.text(&attribute.type_name);
                    attribute.collation = self.text(&attribute.collation);
                }
            }
            Some(Definition::Domain(domain)) => {
                domain.base_type = self.text(&domain.base_type);
                domain.default_expression = self.text(&domain.default_expression);
                domain.collation = self.text(&domain.collation);
                for constraint in &mut domain.constraints {
                    constraint.name = mapping.cased(&constraint.name);
                    constraint.definition = self.text(&constraint.definition);
                }
            }
            Some(Definition::Range(range)) => {
                range.subtype = self.text(&range.subtype);
                range.subtype_opclass = self.text(&range.subtype_opclass);
                range.collation = self.text(&range.collation);
                range.subtype_diff = self.text(&range.subtype_diff);
                range.multirange_name = mapping.cased(&range.multirange_name);
            }
            Some(Definition::Enum(_)) | None => {}
        }
        user_type
    }

    /// A text that names no columns.
    fn text(&self, text: &str) -> String {
        // Only columns are refused.
        expression::rewrite(text, &self.names, None).unwrap_or_else(|_| text.to_owned())
    }
}

impl Mapping {
    fn takes_all_of(&self, schema: &str) -> bool {
        let include = &self.selection.include;
        include.is_empty()
            || include
                .iter()
                .any(|it| it.table.is_empty() && (it.schema == schema || it.schema.contains('*')))
    }
}

/// Makes one table.
struct TableMaker<'a> {
    map: &'a TableMap,
    mapping: &'a Mapping,
    by_name: &'a BTreeMap<(&'a str, &'a str), &'a TableMap>,
    skipped: &'a mut Vec<v1::ObjectResult>,
}

impl TableMaker<'_> {
    fn make(&mut self, source: &v1::Table) -> v1::Table {
        let options = self.mapping.options(&self.map.source);
        let mut table = v1::Table {
            schema: self.map.target.schema.clone(),
            name: self.map.target.name.clone(),
            columns: source.columns.iter().filter_map(|it| self.column(it, &options)).collect(),
            constraints: source.constraints.iter().filter_map(|it| self.constraint(it)).collect(),
            indexes: source.indexes.iter().filter_map(|it| self.index(it)).collect(),
            inherits: source.inherits.iter().map(|it| self.mapping.target(it)).collect(),
            partition_key: self.partition_key(&source.partition_key),
            partition_of: source.partition_of.as_ref().map(|it| self.place(it)),
            ..source.clone()
        };
        for leaf in &mut table.leaves {
            leaf.bounds_expression = self.map.expression(&leaf.bounds_expression).unwrap_or_default();
        }
        if !options.primary_key.is_empty() {
            set_primary_key(&mut table, &options.primary_key);
        }
        table
    }

    /// A column that it needs and that is left out is for the server to refuse: the precheck has.
    fn partition_key(&self, source: &str) -> String {
        self.map.expression(source).unwrap_or_else(|_| source.to_owned())
    }

    fn place(&self, source: &v1::PartitionOf) -> v1::PartitionOf {
        let target = |parent: &TableName| {
            let known = self.by_name.get(&(&*parent.schema, &*parent.name));
            known.map_or_else(|| self.mapping.target(parent), |map| map.target.clone())
        };
        v1::PartitionOf { parent: source.parent.as_ref().map(target), ..source.clone() }
    }

    fn part_of(&self, source: &str) -> String {
        if source.is_empty() { String::new() } else { self.mapping.cased(source) }
    }

    fn column(&mut self, source: &v1::Column, options: &v1::TableOptions) -> Option<v1::Column> {
        let name = self.map.columns.target(&source.name)?;
        let mut column = v1::Column {
            type_name: self.plain(&source.type_name),
            collation: self.plain(&source.collation),
            default_expression: self.plain(&source.default_expression),
            ..source.clone()
        };
        if let Some(type_name) = options.column_types.get(&name) {
            column.type_name.clone_from(type_name);
            // It belongs to the source's type.
            column.collation.clear();
        }
        if let Some(identity) = &mut column.identity {
            let (schema, name) = self.map.names.object(&identity.sequence_schema, &identity.sequence_name);
            (identity.sequence_schema, identity.sequence_name) = (schema, name);
        }
        if let Some(generated) = &mut column.generated {
            match self.map.expression(&generated.expression) {
                Ok(expression) => generated.expression = expression,
                Err(refusal) => {
                    self.skip("column", &source.name, refusal);
                    return None;
                }
            }
        }
        column.name = name;
        Some(column)
    }

    fn constraint(&mut self, source: &v1::Constraint) -> Option<v1::Constraint> {
        let (names, own) = (&self.map.names, self.map.scope());
        let (definition, references) = match &source.references {
            Some(referred) => {
                let Some(other) = self.by_name.get(&(&*referred.schema, &*referred.name)) else {
                    return Some(source.clone());
                };
                let scope = other.scope();
                let definition = expression::rewrite_foreign_key(&source.definition, names, &own, &scope);
                (definition, Some(other.target.clone()))
            }
            None => (self.map.expression(&source.definition), None),
        };
        match definition {
            Ok(definition) => Some(v1::Constraint {
                name: self.mapping.cased(&source.name),
                definition,
                references,
                part_of: self.part_of(&source.part_of),
                ..source.clone()
            }),
            Err(refusal) => {
                self.skip("constraint", &source.name, refusal);
                None
            }
        }
    }

    fn index(&mut self, source: &v1::Index) -> Option<v1::Index> {
        match self.map.expression(&source.definition_tail) {
            Ok(definition_tail) => Some(v1::Index {
                name: self.mapping.cased(&source.name),
                definition_tail,
                part_of: self.part_of(&source.part_of),
                ..source.clone()
            }),
            Err(refusal) => {
                self.skip("index", &source.name, refusal);
                None
            }
        }
    }

    /// A text of a column that names no columns.
    fn plain(&self, text: &str) -> String {
        // Only columns are refused.
        expression::rewrite(text, &self.map.names, None).unwrap_or_else(|_| text.to_owned())
    }

    fn skip(&mut self, kind: &str, name: &str, refusal: Refusal) {
        let TableName { schema, name: table } = &self.map.source;
        let name = format!("{table}.{name}");
        let skipped = v1::ObjectResult::new(kind, &**schema, name, v1::ObjectOutcome::Skipped);
        self.skipped.push(skipped.because(refusal.to_string()));
    }
}

/// Gives the destination's table another primary key; the source's stays as what it says about the rows.
fn set_primary_key(table: &mut v1::Table, key: &[String]) {
    const WORDS: &str = "PRIMARY KEY";
    for constraint in &mut table.constraints {
        if constraint.kind() != ConstraintKind::PrimaryKey {
            continue;
        }
        if key_columns(&constraint.definition) == key {
            return;
        }
        constraint.set_kind(ConstraintKind::Unique);
        if let Some(rest) = constraint.definition.strip_prefix(WORDS) {
            constraint.definition = format!("UNIQUE{rest}");
        }
    }
    for column in table.columns.iter_mut().filter(|column| key.contains(&column.name)) {
        column.not_null = true;
    }
    let taken: BTreeSet<&str> = table
        .constraints
        .iter()
        .map(|it| &*it.name)
        .chain(table.indexes.iter().map(|it| &*it.name))
        .collect();
    // Room for what follows within PostgreSQL's 63 bytes.
    let stem: String = table
        .name
        .chars()
        .scan(0, |bytes, it| {
            *bytes += it.len_utf8();
            (*bytes <= 50).then_some(it)
        })
        .collect();
    let mut candidates = (0..).map(|number| match number {
        0 => format!("{stem}_pkey"),
        number => format!("{stem}_pkey{number}"),
    });
    let name = candidates.find(|name| !taken.contains(&**name)).unwrap_or_default();
    let columns: Vec<String> = key.iter().map(|column| quote::identifier(column)).collect();
    table.constraints.insert(
        0,
        v1::Constraint {
            name,
            kind: ConstraintKind::PrimaryKey.into(),
            definition: format!("{WORDS} ({})", columns.join(", ")),
            validated: true,
            ..Default::default()
        },
    );
}
