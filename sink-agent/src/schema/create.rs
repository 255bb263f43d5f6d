//! What must stand before rows arrive.
//!
//! Everything is created in the order of its dependencies. What the server refuses because something is missing is tried again
//! once the rest has been, as long as that helps: texts of functions hide what they refer to.

use std::collections::{HashMap, HashSet};

use strait_postgres::{Client, Error, ServerVersion};
use strait_proto::v1::user_type::Definition;
use strait_proto::v1::{self, SchemaStage};

use super::ddl::{self, sequences, tables, types};
use super::execute::{Action, Attempt, Created, Executor, Object, Refusal};
use super::existing::{Existing, has_function};
use super::{Results, SchemaOutcome, comments, objects, partitions};

/// Creates schemas, types, sequences, tables and everything else that can stand without rows, then defaults, settings, the
/// owners of sequences and comments. `replaceable` are the views whose placeholders are, or will be, this task's own.
///
/// Everything that can be created is, whatever failed before it; the outcome says which tables are missing.
pub(crate) async fn create_objects(
    client: &Client,
    model: &v1::SchemaModel,
    replaceable: &HashSet<v1::TableName>,
    results: &Results,
) -> Result<SchemaOutcome, Error> {
    objects::prepare(client).await?;
    let creation = Creation {
        executor: Executor { client, results },
        version: client.server().await?.version,
        existing: Existing::read(client, &model.schemas).await?,
        // Of several tables that go into one the first makes it.
        by_name: model.tables.iter().rev().map(|table| ((&*table.schema, &*table.name), table)).collect(),
        replaceable,
    };
    creation.create_schemas(model).await?;
    let outcome = creation.create_all(model).await?;
    partitions::attach_tables(&creation.executor, model, &outcome.failed_tables).await?;
    let now = Existing::read(client, &model.schemas).await?;
    for user_type in &model.types {
        creation.complete_domain(user_type, &now).await?;
    }
    for table in model.tables.iter().filter(|table| !outcome.has_failed(table)) {
        creation.set_defaults(table).await?;
        creation.set_storage(table).await?;
    }
    for sequence in &model.sequences {
        creation.set_owner(sequence, &outcome).await?;
    }
    // The schemas that were there have comments of their own.
    let mut comments = comments::before_data(model);
    comments.retain(|it| it.object_kind != "schema" || !creation.existing.has("schema", &it.name, ""));
    comments::write(&creation.executor, &comments).await?;
    Ok(outcome)
}

impl SchemaOutcome {
    fn has_failed(&self, table: &v1::Table) -> bool {
        self.failed_tables.iter().any(|failed| failed.schema == table.schema && failed.name == table.name)
    }
}

/// One thing to create.
#[derive(Clone, Copy)]
enum Item<'a> {
    Type(&'a v1::UserType),
    Sequence(&'a v1::Sequence),
    Table(&'a v1::Table),
    Object(&'a v1::SchemaObject),
}

impl Item<'_> {
    fn place(&self) -> u32 {
        match self {
            Self::Type(it) => it.creation_order,
            Self::Sequence(it) => it.creation_order,
            Self::Table(it) => it.creation_order,
            Self::Object(it) => it.creation_order,
        }
    }
}

/// What was refused, and how to say so.
struct Failed<'a> {
    item: Item<'a>,
    object: Object,
    refusal: Refusal,
    sql: String,
}

struct Creation<'a> {
    executor: Executor<'a>,
    version: ServerVersion,
    existing: Existing,
    by_name: HashMap<(&'a str, &'a str), &'a v1::Table>,
    replaceable: &'a HashSet<v1::TableName>,
}

impl Creation<'_> {
    async fn create_schemas(&self, model: &v1::SchemaModel) -> Result<(), Error> {
        for schema in &model.schemas {
            let object = Object::new("schema", "", &**schema);
            if self.existing.has("schema", schema, "") {
                self.executor.existed(object).await;
            } else {
                self.executor.create(object, &ddl::create_schema(schema)).await?;
            }
        }
        Ok(())
    }

    async fn create_all(&self, model: &v1::SchemaModel) -> Result<SchemaOutcome, Error> {
        let mut outcome = SchemaOutcome::default();
        let mut waiting = in_order(model);
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut failed = Vec::new();
            for item in waiting {
                failed.extend(self.create_item(item).await?);
            }
            // As long as others came into being meanwhile, what was missing may be there.
            let again = failed.len() < before && failed.iter().any(|it| it.refusal.missing);
            let (missing, refused): (Vec<_>, Vec<_>) =
                failed.into_iter().partition(|failed| again && failed.refusal.missing);
            for failed in refused {
                self.report(failed, &mut outcome).await;
            }
            waiting = missing.into_iter().map(|failed| failed.item).collect();
        }
        Ok(outcome)
    }

    async fn report(&self, failed: Failed<'_>, outcome: &mut SchemaOutcome) {
        if let Item::Table(table) = failed.item {
            outcome.failed_tables.push(table.table_name());
        }
        self.executor.fail(failed.object, failed.refusal.message, &failed.sql).await;
    }

    async fn create_item<'i>(&self, item: Item<'i>) -> Result<Option<Failed<'i>>, Error> {
        let (object, sql, note) = match item {
            Item::Type(user_type) => return self.create_type(user_type).await,
            Item::Sequence(it) => (Object::new("sequence", &it.schema, &*it.name), sequences::create(it), ""),
            Item::Table(it) if !self.is_first(it) => return Ok(None),
            Item::Table(it) => (Object::new("table", &it.schema, &*it.name), self.create_table(it), ""),
            Item::Object(it) if it.placeholder || objects::replaces(it) => {
                return self.create_in_cycle(it).await;
            }
            Item::Object(it) => {
                (Object::new(&it.object_kind, &it.schema, &*it.name), it.statements.clone(), &*it.note)
            }
        };
        self.create(item, object, sql, note).await
    }

    /// Creates one object unless it exists.
    async fn create<'i>(
        &self,
        item: Item<'i>,
        object: Object,
        sql: String,
        note: &str,
    ) -> Result<Option<Failed<'i>>, Error> {
        if self.existing.has(&object.kind, &object.schema, &object.name) {
            self.executor.existed(object).await;
            return Ok(None);
        }
        Ok(match self.executor.create_unless_there(&object, &sql, note).await? {
            Created::Stands => None,
            Created::Refused(refusal) => Some(Failed { item, object, refusal, sql }),
        })
    }

    /// A view that others need before it can stand: a placeholder, then itself in the placeholder's place. One that is not
    /// this task's stays.
    async fn create_in_cycle<'i>(&self, view: &'i v1::SchemaObject) -> Result<Option<Failed<'i>>, Error> {
        let object = Object::new(&view.object_kind, &view.schema, &*view.name);
        let replaceable = self.replaceable.contains(&v1::TableName::new(&*view.schema, &*view.name));
        if !replaceable {
            if !view.placeholder {
                self.executor.existed(object).await;
            }
            return Ok(None);
        }
        match self.executor.attempt(&view.statements).await? {
            Attempt::Refused(refusal) if !(view.placeholder && refusal.exists) => {
                Ok(Some(Failed { item: Item::Object(view), object, refusal, sql: view.statements.clone() }))
            }
            _ if view.placeholder => Ok(None),
            _ => {
                self.executor.created(object).await;
                Ok(None)
            }
        }
    }

    fn is_first(&self, table: &v1::Table) -> bool {
        let first = self.by_name.get(&(&*table.schema, &*table.name));
        first.is_none_or(|first| first.table_id == table.table_id)
    }

    fn create_table(&self, table: &v1::Table) -> String {
        let parents: Vec<&v1::Table> = table
            .inherits
            .iter()
            .filter_map(|it| self.by_name.get(&(&*it.schema, &*it.name)).copied())
            .collect();
        tables::create(table, &parents)
    }

    async fn create_type<'i>(&self, user_type: &'i v1::UserType) -> Result<Option<Failed<'i>>, Error> {
        let definition = self.without_multirange(self.without_missing_function(user_type).await?);
        let object = Object::new("type", &definition.schema, &*definition.name);
        let failed = self.create(Item::Type(user_type), object, types::create(&definition), "").await?;
        // What is refused now is tried once more at the end, when what it needs is there.
        if failed.is_none()
            && let Some(Definition::Domain(domain)) = &user_type.definition
        {
            for constraint in constraints_missing(&self.existing, user_type, domain) {
                self.executor.attempt(&types::add_domain_constraint(user_type, constraint)).await?;
            }
        }
        Ok(failed)
    }

    /// A server that has no multiranges does not know the word either.
    fn without_multirange(&self, mut user_type: v1::UserType) -> v1::UserType {
        if let Some(Definition::Range(range)) = &mut user_type.definition
            && !self.version.has_multiranges()
        {
            range.multirange_name.clear();
        }
        user_type
    }

    /// A range works without its subtype_diff function, which only makes GiST indexes better.
    async fn without_missing_function(&self, user_type: &v1::UserType) -> Result<v1::UserType, Error> {
        let mut user_type = user_type.clone();
        if self.existing.has("type", &user_type.schema, &user_type.name) {
            return Ok(user_type);
        }
        if let Some(Definition::Range(range)) = &mut user_type.definition
            && !range.subtype_diff.is_empty()
            && !has_function(self.executor.client, &range.subtype_diff).await?
        {
            let message =
                format!("the function {} is not there: the range is created without it", range.subtype_diff);
            let name = format!("{}.subtype_diff", user_type.name);
            self.executor.skip(Object::new("function", &user_type.schema, name), message).await;
            range.subtype_diff.clear();
        }
        Ok(user_type)
    }

    /// The default of a domain, and those of its constraints that could not be added at once.
    async fn complete_domain(&self, user_type: &v1::UserType, now: &Existing) -> Result<(), Error> {
        let Some(Definition::Domain(domain)) = &user_type.definition else { return Ok(()) };
        let (schema, name) = (&user_type.schema, &user_type.name);
        for constraint in constraints_missing(now, user_type, domain) {
            let object = Object::new("constraint", schema, format!("{name}.{}", constraint.name));
            let sql = types::add_domain_constraint(user_type, constraint);
            self.executor.complete(object, &sql).await?;
        }
        if !domain.default_expression.is_empty() && !self.existing.has("domain default", schema, name) {
            let statement = types::set_domain_default(user_type, &domain.default_expression);
            self.executor.complete(Object::new("default", schema, &**name), &statement).await?;
        }
        Ok(())
    }

    async fn set_defaults(&self, table: &v1::Table) -> Result<(), Error> {
        let is_missing = |column: &&v1::Column| {
            !column.default_expression.is_empty()
                && !self.existing.has_part("default", &table.schema, &table.name, &column.name)
        };
        let action = |column: &v1::Column| Action {
            object: Object::new("default", &table.schema, format!("{}.{}", table.name, column.name)),
            sql: tables::set_default(column),
        };
        self.alter(table, table.columns.iter().filter(is_missing).map(action).collect()).await
    }

    /// Storage parameters, and how columns are stored and sampled.
    async fn set_storage(&self, table: &v1::Table) -> Result<(), Error> {
        let parameter = |parameter: &String| Action {
            object: Object::new(
                "storage parameter",
                &table.schema,
                format!("{}.{}", table.name, parameter.split('=').next().unwrap_or_default()),
            ),
            sql: tables::set_storage_parameter(parameter),
        };
        let mut actions: Vec<Action> = table.storage_parameters.iter().map(parameter).collect();
        for column in &table.columns {
            actions.extend(column.settings.iter().map(|setting| Action {
                object: Object::new("column", &table.schema, format!("{}.{}", table.name, column.name)),
                sql: tables::set_column(column, setting),
            }));
        }
        self.alter(table, actions).await
    }

    /// Completes a table that was reported before: only failures are told.
    async fn alter(&self, table: &v1::Table, actions: Vec<Action>) -> Result<(), Error> {
        let statement = |actions: &[String]| tables::alter(table, false, actions);
        let attempts = self.executor.attempt_together(&actions, statement).await?;
        for (action, attempt) in actions.into_iter().zip(attempts) {
            if let Attempt::Refused(refusal) = attempt {
                self.executor.fail(action.object, refusal.message, &statement(&[action.sql])).await;
            }
        }
        Ok(())
    }

    async fn set_owner(&self, sequence: &v1::Sequence, outcome: &SchemaOutcome) -> Result<(), Error> {
        let owner_failed = sequence.owner_table.as_ref().is_some_and(|it| outcome.failed_tables.contains(it));
        let owned = self.existing.has("sequence owner", &sequence.schema, &sequence.name);
        if let Some(statement) = sequences::set_owner(sequence).filter(|_| !owned && !owner_failed) {
            let object = Object::new("sequence", &sequence.schema, &*sequence.name);
            self.executor.complete(object, &statement).await?;
        }
        Ok(())
    }
}

/// The constraints of a domain that did not stand when `existing` was read.
fn constraints_missing<'d>(
    existing: &Existing,
    user_type: &v1::UserType,
    domain: &'d v1::DomainType,
) -> impl Iterator<Item = &'d v1::DomainConstraint> {
    let (schema, name) = (&user_type.schema, &user_type.name);
    domain
        .constraints
        .iter()
        .filter(move |it| !existing.has_part("domain constraint", schema, name, &it.name))
}

/// Everything that stands before the data, each after what it needs.
fn in_order(model: &v1::SchemaModel) -> Vec<Item<'_>> {
    let mut items: Vec<Item<'_>> = model.types.iter().map(Item::Type).collect();
    items.extend(model.sequences.iter().map(Item::Sequence));
    items.extend(model.tables.iter().map(Item::Table));
    let objects = model.objects.iter().filter(|object| object.stage() != SchemaStage::AfterData);
    items.extend(objects.map(Item::Object));
    items.sort_by_key(Item::place);
    items
}
