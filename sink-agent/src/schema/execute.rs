//! Runs one statement and says what became of its object.

use strait_postgres::{Client, Error};
use strait_proto::v1;

use super::Results;

/// Runs statements and reports on them.
pub(super) struct Executor<'a> {
    pub(super) client: &'a Client,
    pub(super) results: &'a Results,
}

/// What a statement is about, in PostgreSQL's words.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) schema: String,
    /// `table.object` for an object of a table.
    pub(super) name: String,
}

/// One object's part of an `ALTER TABLE`.
pub(super) struct Action {
    pub(super) object: Object,
    pub(super) sql: String,
}

impl Object {
    pub(super) fn new(kind: &str, schema: &str, name: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), schema: schema.to_owned(), name: name.into() }
    }

    fn result(self, outcome: v1::ObjectOutcome) -> v1::ObjectResult {
        v1::ObjectResult::new(self.kind, self.schema, self.name, outcome)
    }
}

impl Executor<'_> {
    /// Creates an object and reports on it: whether it stands now.
    pub(super) async fn create(&self, object: Object, sql: &str) -> Result<bool, Error> {
        match self.attempt(sql).await? {
            Attempt::Done => self.report(object.result(v1::ObjectOutcome::Created)).await,
            Attempt::Refused(refusal) => {
                self.fail(object, refusal.message, sql).await;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Creates an object that cannot be looked for by its name alone: one that the server says is there already has
    /// existed. `note` says what is different from the source on purpose.
    pub(super) async fn create_unless_there(
        &self,
        object: &Object,
        sql: &str,
        note: &str,
    ) -> Result<Created, Error> {
        match self.attempt(sql).await? {
            Attempt::Done => {
                let mut result = object.clone().result(v1::ObjectOutcome::Created);
                note.clone_into(&mut result.detail);
                self.report(result).await;
            }
            Attempt::Refused(refusal) if refusal.exists => self.existed(object.clone()).await,
            Attempt::Refused(refusal) => return Ok(Created::Refused(refusal)),
        }
        Ok(Created::Stands)
    }

    /// Completes an object that was reported before: only a failure is told.
    pub(super) async fn complete(&self, object: Object, sql: &str) -> Result<(), Error> {
        if let Attempt::Refused(refusal) = self.attempt(sql).await? {
            self.fail(object, refusal.message, sql).await;
        }
        Ok(())
    }

    /// Runs several actions on one table as one statement, which reads the table once; if the server refuses
    /// that, one by one, so that each gets its own result. Whether each one was carried out.
    pub(super) async fn attempt_together(
        &self,
        actions: &[Action],
        statement: impl Fn(&[String]) -> String,
    ) -> Result<Vec<Attempt>, Error> {
        if actions.len() > 1 {
            let all: Vec<_> = actions.iter().map(|action| action.sql.clone()).collect();
            if let Attempt::Done = self.attempt(&statement(&all)).await? {
                return Ok(actions.iter().map(|_| Attempt::Done).collect());
            }
        }
        let mut attempts = Vec::with_capacity(actions.len());
        for action in actions {
            attempts.push(self.attempt(&statement(std::slice::from_ref(&action.sql))).await?);
        }
        Ok(attempts)
    }

    pub(super) async fn attempt(&self, sql: &str) -> Result<Attempt, Error> {
        if self.results.renders(sql) {
            return Ok(Attempt::Done);
        }
        match self.client.batch_execute(sql).await.map_err(Error::from) {
            Ok(()) => Ok(Attempt::Done),
            Err(error) if is_refusal(&error) => Ok(Attempt::Refused(Refusal::of(&error))),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn created(&self, object: Object) {
        self.report(object.result(v1::ObjectOutcome::Created)).await;
    }

    pub(super) async fn existed(&self, object: Object) {
        self.report(object.result(v1::ObjectOutcome::Existed)).await;
    }

    pub(super) async fn skip(&self, object: Object, reason: String) {
        let mut result = object.result(v1::ObjectOutcome::Skipped);
        result.detail = reason;
        self.report(result).await;
    }

    pub(super) async fn fail(&self, object: Object, message: String, sql: &str) {
        let mut result = object.result(v1::ObjectOutcome::Failed);
        result.detail = message;
        result.statement = sql.to_owned();
        self.report(result).await;
    }

    async fn report(&self, result: v1::ObjectResult) {
        self.results.send(result).await;
    }
}

/// What the server said to a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Done,
    /// For good.
    Refused(Refusal),
}

/// Whether an object stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Created {
    /// It does, and that was reported.
    Stands,
    /// Not reported yet.
    Refused(Refusal),
}

/// Why the server refused a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// In the server's words.
    pub(super) message: String,
    /// Something that the statement needs is not there: it may be later.
    pub(super) missing: bool,
    /// What it creates is there already.
    pub(super) exists: bool,
}

/// PostgreSQL, Appendix A: undefined schema, table, column, function and object; and what a type is as long as it is a shell.
const MISSING: [&str; 6] = ["3F000", "42P01", "42703", "42883", "42704", "42P17"];
/// Duplicate table (any relation), function (operators too), object and schema.
const EXISTS: [&str; 4] = ["42P07", "42723", "42710", "42P06"];
/// Some catalogs have no message of their own for it: their index speaks.
const UNIQUE_VIOLATION: &str = "23505";

impl Refusal {
    fn of(error: &Error) -> Self {
        let code = error.sqlstate().map(|state| state.code()).unwrap_or_default();
        let by_index = code == UNIQUE_VIOLATION
            && error
                .server_error()
                .and_then(|it| it.constraint.as_deref())
                .is_some_and(|it| it.starts_with("pg_"));
        Self {
            message: error.failure().cause,
            missing: MISSING.contains(&code),
            exists: by_index || EXISTS.contains(&code),
        }
    }
}

/// Whether the server refused the statement for good. What a function raised by itself counts as that.
fn is_refusal(error: &Error) -> bool {
    let raised =
        error.sqlstate().is_some_and(|code| matches!(code.code().get(..2), Some("P0" | "38" | "39")));
    raised || (error.sqlstate().is_some() && error.failure().definite && !error.is_connection())
}
