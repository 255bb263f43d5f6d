//! Statements that are sent without waiting for each other's answers.
//!
//! The server executes them in the order in which they were queued; after one that failed, those of the same
//! transaction fail too. Answers are small, so that as many statements as a batch has may be under way.

use std::pin::{Pin, pin};

use futures_util::TryStreamExt as _;
use futures_util::future::{MaybeDone, maybe_done};
use strait_postgres::Client;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::array::Parameter;

type Pending<'a> = Pin<Box<dyn Future<Output = Result<Answer, tokio_postgres::Error>> + Send + 'a>>;

/// What a statement did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Rows that it affected or returned.
    pub(crate) rows: u64,
    /// The first column of each row that it returned, a text; of [`Pipeline::query`] alone.
    pub(crate) returned: Vec<Option<String>>,
}

/// Statements of one connection that go out together.
pub(crate) struct Pipeline<'a> {
    client: &'a Client,
    queued: Vec<Pending<'a>>,
}

/// A statement failed.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Its place among those queued, from 0.
    pub(crate) place: usize,
    pub(crate) error: tokio_postgres::Error,
}

impl<'a> Pipeline<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, queued: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Queues statements without parameters.
    pub(crate) fn simple(&mut self, text: &'a str) {
        let client = self.client;
        self.queued
            .push(Box::pin(async move { client.batch_execute(text).await.map(|()| Answer::default()) }));
    }

    /// Queues a prepared statement.
    pub(crate) fn execute(&mut self, statement: Statement, parameters: &'a [Parameter]) {
        let client = self.client;
        self.queued.push(Box::pin(async move {
            let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(Parameter::as_sql).collect();
            let rows = client.execute(&statement, &parameters).await?;
            Ok(Answer { rows, ..Answer::default() })
        }));
    }

    /// Queues a prepared statement that may return rows: few, each with one column, a text.
    pub(crate) fn query(&mut self, statement: Statement, parameters: &'a [Parameter]) {
        let client = self.client;
        self.queued.push(Box::pin(async move {
            let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(Parameter::as_sql).collect();
            let mut rows = pin!(client.query_raw(&statement, parameters).await?);
            let mut returned = Vec::new();
            while let Some(row) = rows.try_next().await? {
                returned.push(row.try_get(0)?);
            }
            Ok(Answer { rows: rows.rows_affected().unwrap_or_default(), returned })
        }));
    }

    /// Sends what is queued and waits for all of it: how many rows each statement affected, or the first
    /// failure.
    pub(crate) async fn flush(&mut self) -> Result<Vec<u64>, Broken> {
        let answers = self.answers().await?;
        Ok(answers.into_iter().map(|answer| answer.rows).collect())
    }

    /// The same, with the rows that were returned.
    pub(crate) async fn answers(&mut self) -> Result<Vec<Answer>, Broken> {
        let mut running: Vec<Pin<Box<MaybeDone<Pending<'a>>>>> =
            self.queued.drain(..).map(|pending| Box::pin(maybe_done(pending))).collect();
        // A request goes out when its future is polled first: one after the other, in order.
        for request in &mut running {
            let _ = futures_util::poll!(request.as_mut());
        }
        let mut answers = Vec::with_capacity(running.len());
        for (place, mut request) in running.into_iter().enumerate() {
            request.as_mut().await;
            match request.as_mut().take_output() {
                Some(Ok(answer)) => answers.push(answer),
                Some(Err(error)) => return Err(Broken { place, error }),
                // Awaited above and taken once.
                None => answers.push(Answer::default()),
            }
        }
        Ok(answers)
    }
}
