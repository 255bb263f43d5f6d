//! What must stand before rows arrive.

use std::collections::{HashMap, HashSet};

use strait_postgres::{Client, Error, ServerVersion};
use strait_proto::v1;
use strait_proto::v1::user_type::Definition;

use super::ddl::{self, sequences, tables, types};
use super::execute::{Action, Attempt, Executor, Object};
use super::existing::{Existing, has_function, missing_collations};
use super::{Results, SchemaOutcome};

/// Creates schemas, types, sequences and tables, then defaults and the owners of sequences.
///
/// Everything that can be created is, whatever failed before it; the outcome says which tables are missing.
pub(crate) async fn create_objects(
    client: &Client,
    model: &v1::SchemaModel,
    results: &Results,
) -> Result<SchemaOutcome, Error> {
    let collations: HashSet<&str> = model
        .types
        .iter()
        .flat_map(types::collations)
        .chain(model.tables.iter().flat_map(tables::collations))
        .collect();
    let creation = Creation {
        executor: Executor { client, results },
        version: client.server().await?.version,
        existing: Existing::read(client, &model.schemas).await?,
        missing_collations: missing_collations(client, &collations.into_iter().collect::<Vec<_>>()).await?,
    };
    creation.create_schemas(model).await?;
    for user_type in &model.types {
        creation.create_type(user_type).await?;
    }
    for sequence in &model.sequences {
        let object = Object::new("sequence", &sequence.schema, &*sequence.name);
        creation.create(object, &sequences::create(sequence), &[]).await?;
    }
    let outcome = creation.create_tables(model).await?;
    for user_type in &model.types {
        creation.set_domain_default(user_type).await?;
    }
    for table in model.tables.iter().filter(|table| !outcome.has_failed(table)) {
        creation.set_defaults(table).await?;
    }
    for sequence in &model.sequences {
        creation.set_owner(sequence, &outcome).await?;
    }
    Ok(outcome)
}

impl SchemaOutcome {
    fn has_failed(&self, table: &v1::Table) -> bool {
        self.failed_tables.iter().any(|failed| failed.schema == table.schema && failed.name == table.name)
    }
}

struct Creation<'a> {
    executor: Executor<'a>,
    version: ServerVersion,
    existing: Existing,
    missing_collations: HashSet<String>,
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

    async fn create_type(&self, user_type: &v1::UserType) -> Result<(), Error> {
        let user_type = self.without_multirange(self.without_missing_function(user_type).await?);
        let object = Object::new("type", &user_type.schema, &*user_type.name);
        let stands = self.create(object, &types::create(&user_type), &types::collations(&user_type)).await?;
        let Some(Definition::Domain(domain)) = user_type.definition.as_ref().filter(|_| stands) else {
            return Ok(());
        };
        for constraint in &domain.constraints {
            let (schema, name) = (&user_type.schema, &user_type.name);
            if !self.existing.has_part("domain constraint", schema, name, &constraint.name) {
                let object = Object::new("constraint", schema, format!("{name}.{}", constraint.name));
                let statement = types::add_domain_constraint(&user_type, constraint);
                self.executor.complete(object, &statement).await?;
            }
        }
        Ok(())
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

    /// Creates one object that belongs to a schema unless it exists: whether it stands now.
    async fn create(&self, object: Object, statement: &str, collations: &[&str]) -> Result<bool, Error> {
        if self.existing.has(object.kind, &object.schema, &object.name) {
            self.executor.existed(object).await;
            return Ok(true);
        }
        if let Some(missing) = collations.iter().find(|name| self.missing_collations.contains(**name)) {
            let message = format!("the collation {missing} is not there: create it at the destination");
            self.executor.fail(object, message, statement).await;
            return Ok(false);
        }
        self.executor.create(object, statement).await
    }

    async fn create_tables(&self, model: &v1::SchemaModel) -> Result<SchemaOutcome, Error> {
        let by_name: HashMap<(&str, &str), &v1::Table> =
            model.tables.iter().map(|table| ((&*table.schema, &*table.name), table)).collect();
        let mut outcome = SchemaOutcome::default();
        for table in &model.tables {
            let parents: Vec<_> = table
                .inherits
                .iter()
                .filter_map(|it| by_name.get(&(&*it.schema, &*it.name)).copied())
                .collect();
            let object = Object::new("table", &table.schema, &*table.name);
            let statement = tables::create(table, &parents);
            if !self.create(object, &statement, &tables::collations(table)).await? {
                outcome.failed_tables.push(v1::TableName::new(&*table.schema, &*table.name));
            }
        }
        Ok(outcome)
    }

    async fn set_domain_default(&self, user_type: &v1::UserType) -> Result<(), Error> {
        if let Some(Definition::Domain(domain)) = &user_type.definition
            && !domain.default_expression.is_empty()
            && !self.existing.has("domain default", &user_type.schema, &user_type.name)
        {
            let object = Object::new("default", &user_type.schema, &*user_type.name);
            let statement = types::set_domain_default(user_type, &domain.default_expression);
            self.executor.complete(object, &statement).await?;
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
        let actions: Vec<_> = table.columns.iter().filter(is_missing).map(action).collect();
        let statement = |actions: &[String]| tables::alter(table, false, actions);
        let attempts = self.executor.attempt_together(&actions, statement).await?;
        for (action, attempt) in actions.into_iter().zip(attempts) {
            if let Attempt::Refused(message) = attempt {
                self.executor.fail(action.object, message, &statement(&[action.sql])).await;
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
