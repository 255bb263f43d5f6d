//! What is called how at the destination, for everything that a text can name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use strait_postgres::{Client, Error};
use strait_proto::v1::{self, TableName};

use super::expression::{self, Refusal, Scope};
use super::{ColumnMap, Mapping};
use crate::transform::Added;

/// A schema and a name within it.
pub(super) type Name = (String, String);

/// What extensions have brought: it stays where it is, whatever the schema becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExtensionMembers(BTreeSet<Name>);

impl ExtensionMembers {
    pub(crate) async fn read(client: &Client) -> Result<Self, Error> {
        const SQL: &str = "
            SELECT n.nspname::text AS schema, it.name
            FROM pg_depend AS d
            CROSS JOIN LATERAL (
                SELECT pronamespace, proname::text FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid
                UNION ALL
                SELECT typnamespace, typname::text FROM pg_type WHERE d.classid = 'pg_type'::regclass AND oid = d.objid
                UNION ALL
                SELECT oprnamespace, oprname::text FROM pg_operator WHERE d.classid = 'pg_operator'::regclass AND oid = d.objid
                UNION ALL
                SELECT opcnamespace, opcname::text FROM pg_opclass WHERE d.classid = 'pg_opclass'::regclass AND oid = d.objid
                UNION ALL
                SELECT collnamespace, collname::text FROM pg_collation
                WHERE d.classid = 'pg_collation'::regclass AND oid = d.objid
                UNION ALL
                SELECT relnamespace, relname::text FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid
            ) AS it(namespace, name)
            JOIN pg_namespace AS n ON n.oid = it.namespace
            WHERE d.deptype = 'e' AND n.nspname <> 'pg_catalog'";
        let name = |row: &tokio_postgres::Row| Ok((row.try_get("schema")?, row.try_get("name")?));
        client.query(SQL, &[]).await?.iter().map(name).collect::<Result<_, Error>>().map(Self)
    }
}

/// The destination's names of a model's objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Names {
    mapping: Mapping,
    members: ExtensionMembers,
    /// Tables, types and sequences.
    objects: BTreeMap<Name, Name>,
    /// Ranges: functions of their names make their values.
    constructors: BTreeSet<Name>,
}

impl Names {
    /// `begun`: where tables stand already.
    pub(super) fn new(
        mapping: &Mapping,
        model: &v1::SchemaModel,
        members: ExtensionMembers,
        begun: &HashMap<u32, TableName>,
    ) -> Self {
        let mut names = Self { mapping: mapping.clone(), members, ..Self::default() };
        for user_type in &model.types {
            let name = (user_type.schema.clone(), user_type.name.clone());
            if let Some(v1::user_type::Definition::Range(range)) = &user_type.definition {
                let multirange = (user_type.schema.clone(), range.multirange_name.clone());
                names.constructors.extend([name.clone(), multirange.clone()]);
                names.place(multirange, None);
            }
            names.place(name, None);
        }
        for object in &model.objects {
            match (&*object.object_kind, &object.relation) {
                ("view" | "materialized view", _) => {
                    names.place((object.schema.clone(), object.name.clone()), None);
                }
                ("index", Some(view)) => {
                    let name = object.name.strip_prefix(&format!("{}.", view.name));
                    names.place((object.schema.clone(), name.unwrap_or(&object.name).to_owned()), None);
                }
                _ => {}
            }
        }
        for table in &model.tables {
            let name = table.table_name();
            let target = begun.get(&table.table_id).cloned().unwrap_or_else(|| mapping.target(&name));
            for identity in table.columns.iter().filter_map(|column| column.identity.as_ref()) {
                let sequence = (identity.sequence_schema.clone(), identity.sequence_name.clone());
                names.place(sequence, Some(&target.schema));
            }
            names.objects.insert((name.schema, name.name), (target.schema, target.name));
        }
        for sequence in &model.sequences {
            // A sequence that belongs to a column has to stay in its table's schema.
            let owner = sequence.owner_table.as_ref();
            let owner = owner.map(|owner| (owner.schema.clone(), owner.name.clone()));
            let schema = owner.and_then(|owner| names.objects.get(&owner)).map(|(schema, _)| schema.clone());
            names.place((sequence.schema.clone(), sequence.name.clone()), schema.as_deref());
        }
        names
    }

    fn place(&mut self, source: Name, schema: Option<&str>) {
        let schema = schema.map_or_else(|| self.mapping.schema(&source.0), str::to_owned);
        let name = self.mapping.cased(&source.1);
        self.objects.insert(source, (schema, name));
    }

    /// A table, a type or a sequence of the model; otherwise the name with the schema that such things go to.
    pub(super) fn object(&self, schema: &str, name: &str) -> Name {
        let source = (schema.to_owned(), name.to_owned());
        match self.objects.get(&source) {
            Some(target) => target.clone(),
            None => self.elsewhere(source),
        }
    }

    /// Whether it is a table, a view, a type or a sequence of the model.
    pub(super) fn knows(&self, source: &Name) -> bool {
        self.objects.contains_key(source)
    }

    /// Those of them that are called otherwise at the destination, or lie elsewhere.
    pub(super) fn moved(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.objects.iter().filter(|(source, target)| source != target)
    }

    /// The columns of what has no rules of its own.
    pub(super) fn all_columns(&self) -> ColumnMap {
        ColumnMap::new(Vec::new(), BTreeMap::new(), self.mapping.case)
    }

    /// A name that no rule gives another.
    pub(super) fn cased(&self, name: &str) -> String {
        self.mapping.cased(name)
    }

    /// A function: its name stays, and its schema becomes what its schema becomes.
    pub(super) fn function(&self, schema: &str, name: &str) -> Name {
        let source = (schema.to_owned(), name.to_owned());
        if self.constructors.contains(&source) {
            return self.object(schema, name);
        }
        self.elsewhere(source)
    }

    /// What is none of the model's objects.
    fn elsewhere(&self, source: Name) -> Name {
        let stays = is_system(&source.0) || self.members.0.contains(&source);
        if stays { source } else { (self.mapping.schema(&source.0), source.1) }
    }

    pub(super) fn schema(&self, source: &str) -> String {
        if is_system(source) { source.to_owned() } else { self.mapping.schema(source) }
    }
}

fn is_system(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

/// One table: its name and columns at the destination.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TableMap {
    pub(crate) source: TableName,
    pub(super) target: TableName,
    pub(crate) columns: ColumnMap,
    /// What rules add, by the names that they use.
    pub(crate) added: Vec<Added>,
    pub(super) names: Arc<Names>,
}

impl TableMap {
    /// A text over the table's columns, as the destination has to read it.
    pub(crate) fn expression(&self, text: &str) -> Result<String, Refusal> {
        expression::rewrite(text, &self.names, Some(&self.scope()))
    }

    /// What the task says about the table.
    pub(crate) fn options(&self) -> v1::TableOptions {
        self.names.mapping.options(&self.source)
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        Scope { table: &self.source.name, target: &self.target.name, columns: &self.columns }
    }
}
