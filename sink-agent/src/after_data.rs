//! What is created behind the change stream, once every table stands at one position: triggers, rules, policies, what needs
//! keys; then materialised views are filled, and what had failed for want of any of that is tried again.
//!
//! On a connection of its own: filling a view may take long, and changes flow on meanwhile. None of it fires on changes that are
//! applied. A crash loses nothing: what has no result yet is done by the next session.

use std::collections::HashSet;
use std::time::Duration;

use strait_postgres::{Client, ConnectionUri};
use strait_proto::{Lsn, TaskId, v1};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Context as _, Error};
use crate::results::RESULTS_MAX;
use crate::schema::{self, Again, Results};
use crate::store::{self, Claim, ObjectKey, ObjectRow};

/// How long a statement may wait for its locks, while the stream may have to wait for it.
const LOCK_TIMEOUT_SQL: &str = "SET lock_timeout = '3s'";
/// The pause before something that may pass is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The rest of a task's schema.
pub(crate) struct AfterData {
    state: State,
    /// From here on every table stands at one position.
    begins_lsn: Lsn,
}

enum State {
    Waiting(Box<Work>),
    Running {
        work: JoinHandle<Result<(), Error>>,
        results: mpsc::Receiver<v1::ObjectResult>,
        /// Received, and not taken yet.
        ready: Vec<v1::ObjectResult>,
    },
    Done,
}

/// What is to be done.
struct Work {
    claim: Claim,
    model: v1::SchemaModel,
    replica_role: bool,
}

impl AfterData {
    pub(crate) fn new(claim: Claim, model: v1::SchemaModel, begins_lsn: Lsn, replica_role: bool) -> Self {
        Self { state: State::Waiting(Box::new(Work { claim, model, replica_role })), begins_lsn }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Waits until a step may have something to do; for ever where nothing is under way. Cancel-safe.
    pub(crate) async fn due(&mut self) {
        let State::Running { results, ready, .. } = &mut self.state else {
            return std::future::pending().await;
        };
        // None: the work has ended, which a step finds out.
        ready.extend(results.recv().await);
    }

    /// Begins once everything before `durable_lsn` is there, and returns the results that have come.
    pub(crate) async fn step(
        &mut self,
        uri: &ConnectionUri,
        durable_lsn: Lsn,
    ) -> Result<Vec<v1::ObjectResult>, Error> {
        if matches!(self.state, State::Waiting(_)) && durable_lsn >= self.begins_lsn {
            self.begin(uri);
        }
        let State::Running { work, results, ready } = &mut self.state else { return Ok(Vec::new()) };
        let mut come = std::mem::take(ready);
        loop {
            match results.try_recv() {
                Ok(result) => come.push(result),
                Err(mpsc::error::TryRecvError::Empty) => return Ok(come),
                Err(mpsc::error::TryRecvError::Disconnected) => break,
            }
        }
        let ended = work.await;
        self.state = State::Done;
        match ended {
            Ok(result) => result.map(|()| come),
            Err(ended) => Err(Error::NotNow(format!("creating objects stopped unexpectedly: {ended}"))),
        }
    }

    fn begin(&mut self, uri: &ConnectionUri) {
        if let State::Waiting(work) = std::mem::replace(&mut self.state, State::Done) {
            let (sender, results) = mpsc::channel(RESULTS_MAX);
            let work = tokio::spawn(work.run(uri.clone(), sender));
            self.state = State::Running { work, results, ready: Vec::new() };
        }
    }
}

impl Drop for AfterData {
    fn drop(&mut self) {
        if let State::Running { work, .. } = &self.state {
            work.abort();
        }
    }
}

impl Work {
    async fn run(
        self: Box<Self>,
        uri: ConnectionUri,
        outward: mpsc::Sender<v1::ObjectResult>,
    ) -> Result<(), Error> {
        let client = store::connect(&uri, &self.claim.task_id).await?;
        client.batch_execute(LOCK_TIMEOUT_SQL).await.context("set up the connection for objects")?;
        let records =
            Records { client: store::connect(&uri, &self.claim.task_id).await?, claim: &self.claim };
        self.tell_again(&records, &outward).await?;
        loop {
            match self.attempt(&client, &records, &outward).await {
                Err(error) if !client.is_closed() && !error.failure().definite => {
                    tracing::info!(error = error.failure().cause, "create the rest of the objects later");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                end => return end,
            }
        }
    }

    /// What an earlier session created may not have reached the coordinator, which does not mind hearing it twice.
    async fn tell_again(
        &self,
        records: &Records<'_>,
        outward: &mpsc::Sender<v1::ObjectResult>,
    ) -> Result<(), Error> {
        let waited: HashSet<ObjectKey> = schema::after_data(&self.model).collect();
        for row in records.rows().await? {
            if row.is_settled() && waited.contains(&row.key) {
                // Nobody listens any more where the session has ended.
                let _ = outward.send(row.result()).await;
            }
        }
        Ok(())
    }

    /// Does what has no result yet.
    async fn attempt(
        &self,
        client: &Client,
        records: &Records<'_>,
        outward: &mpsc::Sender<v1::ObjectResult>,
    ) -> Result<(), Error> {
        let (settled, intended): (Vec<ObjectRow>, Vec<ObjectRow>) =
            records.rows().await?.into_iter().partition(ObjectRow::is_settled);
        let (settled, intended) = (keys(settled), keys(intended));
        let create = async |results: Results| {
            schema::create_after_data(client, &self.model, &settled, &intended, self.replica_role, &results)
                .await
        };
        let created = records.keep(outward, create).await?;
        let failed = keys(records.rows().await?.into_iter().filter(ObjectRow::has_failed));
        let refresh = async |results: Results| schema::refresh(client, &self.model, &failed, &results).await;
        records.keep(outward, refresh).await?;
        if created > 0 {
            let again = failed_objects(&records.client, &self.claim.task_id).await?;
            let retry = async |results: Results| schema::retry(client, again, &results).await;
            records.keep(outward, retry).await?;
        }
        Ok(())
    }
}

/// What became of objects, on another connection than that which makes them: nothing of it may come into their transactions.
struct Records<'a> {
    client: Client,
    claim: &'a Claim,
}

impl Records<'_> {
    async fn rows(&self) -> Result<Vec<ObjectRow>, Error> {
        store::object_rows(&self.client, &self.claim.task_id).await
    }

    /// Makes objects, and records and passes on each result as it comes; returns how many there were.
    async fn keep<W>(
        &self,
        outward: &mpsc::Sender<v1::ObjectResult>,
        work: impl FnOnce(Results) -> W,
    ) -> Result<usize, Error>
    where
        W: Future<Output = Result<(), strait_postgres::Error>>,
    {
        let (sender, mut receiver) = mpsc::channel(RESULTS_MAX);
        let record = async {
            let mut count = 0;
            let mut some = Vec::new();
            while receiver.recv_many(&mut some, RESULTS_MAX).await > 0 {
                count += some.len();
                store::record_objects(&self.client, self.claim, &some).await?;
                for result in some.drain(..) {
                    // Nobody listens any more where the session has ended; the results are recorded.
                    let _ = outward.send(result).await;
                }
            }
            Ok::<_, Error>(count)
        };
        let (made, count) = tokio::join!(work(Results::new(sender)), record);
        made.context("create the objects that wait for the rows")?;
        count
    }
}

fn keys(rows: impl IntoIterator<Item = ObjectRow>) -> HashSet<ObjectKey> {
    rows.into_iter().map(|row| row.key).collect()
}

/// The objects that have failed, with their statements.
pub(crate) async fn failed_objects(client: &Client, task_id: &TaskId) -> Result<Vec<Again>, Error> {
    let rows = store::object_rows(client, task_id).await?;
    let failed = rows.into_iter().filter(|row| row.has_failed() && !row.statement.is_empty());
    Ok(failed.map(|row| Again { key: row.key, statement: row.statement }).collect())
}
