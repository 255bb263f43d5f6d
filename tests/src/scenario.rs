//! Two fresh databases with Strait between them: the frame of nearly every test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use strait_proto::v1::{Task, TaskSpec, TaskState};

use strait_runtime::security::Role;

use crate::certificates::Certificates;
use crate::compare;
use crate::database::Database;
use crate::footprint::{self, Footprint};
use crate::in_process::InProcess;
use crate::layout::Layout;
use crate::pair::Pair;
use crate::processes::Processes;
use crate::tasks::Tasks;
use crate::wait::{eventually, patience};

/// A source, a destination, and one task between them.
#[derive(Debug)]
pub struct Scenario {
    /// Where the changes are made.
    pub source: Database,
    /// Where they must arrive.
    pub destination: Database,
    /// The task's operator.
    pub tasks: Tasks,
    strait: Strait,
    layout: Layout,
    task_id: String,
    before: Footprint,
    fence: AtomicI64,
    finished: bool,
}

/// How the three parts run.
#[derive(Debug)]
enum Strait {
    NotStarted,
    InProcess(InProcess),
    Processes(Box<Processes>),
}

impl Scenario {
    /// On the shared pair, in databases of its own.
    pub async fn new(stem: &str) -> Result<Self> {
        Self::on(&Pair::shared().await?, stem).await
    }

    /// On another pair.
    pub async fn on(pair: &Pair, stem: &str) -> Result<Self> {
        let source = Database::create(&pair.source, stem).await?;
        let destination = Database::create(&pair.destination, stem).await?;
        Self::between(source, destination).await
    }

    /// Between databases that exist. The source gets a table `fence` (see [`Scenario::settle`]).
    pub async fn between(source: Database, destination: Database) -> Result<Self> {
        source.run("CREATE TABLE public.fence (id bigint PRIMARY KEY)").await?;
        let layout = Layout::between(&source, &destination)?;
        Ok(Self {
            tasks: Tasks::at(&layout.coordinator_uri())?,
            before: Footprint::of(&source).await?,
            source,
            destination,
            strait: Strait::NotStarted,
            layout,
            task_id: String::new(),
            fence: AtomicI64::new(0),
            finished: false,
        })
    }

    /// The addresses, to be changed before the start.
    pub fn layout(&mut self) -> &mut Layout {
        &mut self.layout
    }

    /// A task from the one endpoint to the other, for all of the source.
    pub fn spec(&self) -> TaskSpec {
        self.layout.task()
    }

    /// Synchronises everything, in this process, and waits until changes flow.
    pub async fn start(&mut self) -> Result<()> {
        self.create_in_process(self.layout.task()).await?;
        self.run_until(TaskState::Incremental).await
    }

    /// The same with three processes.
    pub async fn start_processes(&mut self) -> Result<()> {
        self.create_with_processes(self.layout.task()).await?;
        self.run_until(TaskState::Incremental).await
    }

    /// Lets the parts and the operator speak by TLS. To be called before they are started.
    pub fn encrypt(&mut self) -> Result<Arc<Certificates>> {
        let certificates = Arc::new(Certificates::new()?);
        self.layout.certificates = Some(Arc::clone(&certificates));
        self.tasks = Tasks::with(&self.layout.coordinator_uri(), &self.layout.security(Role::Operator)?)?;
        Ok(certificates)
    }

    /// Starts the parts in this process and creates the task, but does not start it.
    pub async fn create_in_process(&mut self, spec: TaskSpec) -> Result<()> {
        self.strait = Strait::InProcess(InProcess::start(&self.layout).await?);
        self.create(spec).await
    }

    /// Starts the parts as processes and creates the task, but does not start it.
    pub async fn create_with_processes(&mut self, spec: TaskSpec) -> Result<()> {
        self.strait = Strait::Processes(Box::new(Processes::start(self.layout.clone()).await?));
        self.create(spec).await
    }

    /// Starts the created task and waits until it reaches a state.
    pub async fn run_until(&mut self, state: TaskState) -> Result<()> {
        self.tasks.start(&self.task_id, state == TaskState::Finished).await?;
        self.wait_for(state).await?;
        Ok(())
    }

    /// Waits for a state of the task.
    pub async fn wait_for(&self, state: TaskState) -> Result<Task> {
        self.tasks.wait_for(&self.task_id, state, patience()).await
    }

    /// The task's id.
    pub fn task_id(&self) -> &str {
        &self.task_id
    }

    /// The task as it stands.
    pub async fn task(&self) -> Result<Task> {
        Ok(self.tasks.get(&self.task_id).await?)
    }

    /// The three processes.
    pub fn processes(&mut self) -> Result<&mut Processes> {
        match &mut self.strait {
            Strait::Processes(processes) => Ok(processes),
            _ => bail!("the parts do not run as processes"),
        }
    }

    /// Waits until everything committed at the source so far is visible at the destination: a row that is committed now
    /// arrives after all before it.
    pub async fn settle(&self) -> Result<()> {
        self.settle_within(patience()).await
    }

    /// The same with another deadline.
    pub async fn settle_within(&self, deadline: Duration) -> Result<()> {
        let id = self.fence.fetch_add(1, Ordering::Relaxed);
        self.source.run(&format!("INSERT INTO public.fence VALUES ({id})")).await?;
        let arrived = format!("SELECT count(*) FROM public.fence WHERE id = {id}");
        let waited = eventually("what was committed arrives", deadline, async || {
            // The destination may be away, or not have the table yet.
            if self.destination.number(&arrived).await.ok() == Some(1) {
                return Ok(Some(()));
            }
            if let Ok(task) = self.tasks.get(&self.task_id).await {
                ensure!(task.state() != TaskState::Failed, "the task has failed");
            }
            Ok(None)
        })
        .await;
        self.explain(waited).await
    }

    /// Settles, then compares every table that the source has.
    pub async fn assert_equal(&self) -> Result<()> {
        self.settle().await?;
        let compared = compare::assert_equal(&self.source, &self.destination).await;
        self.explain(compared).await
    }

    /// Settles, then fails unless a query answers the same on both sides.
    pub async fn assert_same_answer(&self, sql: &str) -> Result<()> {
        self.settle().await?;
        compare::assert_same_answer(&self.source, &self.destination, sql).await
    }

    /// Settles, then fails unless the destination answers a query with these lines.
    pub async fn assert_arrived(&self, sql: &str, wanted: &str) -> Result<()> {
        self.settle().await?;
        let found = self.destination.text(sql).await?;
        ensure!(found == wanted, "{sql}\nwanted:\n{wanted}\nfound:\n{found}");
        Ok(())
    }

    /// Waits until the keys between tables are there: they come after the data, behind the change stream.
    pub async fn foreign_keys_arrived(&self) -> Result<()> {
        let count = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0";
        let wanted = self.source.number(count).await?;
        let waited = eventually("every foreign key is at the destination", patience(), async || {
            Ok((self.destination.number(count).await? == wanted).then_some(()))
        })
        .await;
        self.explain(waited).await
    }

    /// How many transactions the source has sent before their commit.
    pub async fn streamed(&self) -> Result<i64> {
        let sql = format!(
            "SELECT coalesce(sum(stream_txns), 0)::int8 FROM pg_stat_replication_slots WHERE slot_name = 'dts_sync_{}'",
            self.task_id
        );
        self.source.number(&sql).await
    }

    /// Counts the changes whose rows were missing, since the stream began.
    pub async fn conflicts(&self) -> Result<u64> {
        let task = self.task().await?;
        Ok(crate::tasks::stream_of(&task)?.conflicts)
    }

    /// Expects one line of the source's footprint to be another one in the end.
    pub fn expect_footprint(&mut self, was: &str, is: &str) {
        self.before.expect_changed(was, is);
    }

    /// Releases the task, sees that nothing is left on either side, and ends the parts. A scenario that does not get
    /// here has failed, and its logs are shown.
    pub async fn finish(mut self) -> Result<()> {
        let released = self.tasks.release(&self.task_id).await;
        self.explain(released).await?;
        self.before.assert_unchanged(&self.source).await?;
        footprint::assert_destination_clean(&self.destination).await?;
        if let Strait::InProcess(parts) = std::mem::replace(&mut self.strait, Strait::NotStarted) {
            parts.stop().await?;
        }
        self.finished = true;
        Ok(())
    }

    /// Adds what is known of the task to an error.
    pub async fn explain<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => bail!("{error:#}\n{}", self.tasks.describe(&self.task_id).await),
        }
    }

    /// Creates a task on the agents that run; after an earlier one was released, another.
    pub async fn create(&mut self, spec: TaskSpec) -> Result<()> {
        self.before = Footprint::of(&self.source).await?;
        self.tasks.agents_connected().await?;
        self.task_id = self.tasks.create(spec).await.context("create the task")?.task_id;
        Ok(())
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Strait::Processes(processes) = &self.strait {
            eprintln!("{}", processes.log_tails(40));
        }
        for database in [&self.source, &self.destination] {
            eprintln!("{}", database.server().log_tail_of(database.name(), 15));
        }
    }
}
