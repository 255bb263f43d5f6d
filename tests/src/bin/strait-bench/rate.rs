//! The highest rate of one-row transactions that a replication carries with a bounded latency.
//!
//! One loop on the source writes at a steady pace; the destination's newest row says how far it is behind. A rate is
//! sustained if the lag stays below [`LAG_MAX`] all the time and does not grow: who carries nine rows while ten are
//! written falls behind by a second in ten, which no bound survives for long.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use strait_tests::pair::Pair;
use strait_tests::wait::{eventually, patience};
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, NoTls};

use crate::search::Search;
use crate::subject::{Kind, Subject};

/// The bound of the lag.
const LAG_MAX: Duration = Duration::from_secs(5);
/// Seconds of lag a second, from the second to the last third of a trial. Below it is the noise of a busy machine.
const GROWTH_MAX: f64 = 0.1;
const FIRST_RATE: u64 = 5_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A writer that falls short of the pace by more than this is itself at its limit.
const PACE_KEPT: f64 = 0.95;

const TABLE: &str = "CREATE TABLE bench.paced (id bigint PRIMARY KEY, written_at timestamptz NOT NULL)";
/// Both servers read the clock of one machine.
const NEWEST: &str = "
    SELECT id, extract(epoch FROM clock_timestamp() - written_at)::float8 FROM bench.paced ORDER BY id DESC LIMIT 1";

/// The answer, and how it was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sustained {
    /// The highest rate that was sustained.
    pub(crate) transactions_per_second: u64,
    /// The writer could not go faster: the replication may.
    pub(crate) writer_at_its_limit: bool,
    /// Every rate that was tried.
    pub(crate) trials: Vec<Trial>,
}

impl Sustained {
    /// The rate, as a figure among others.
    pub(crate) fn figure(&self) -> f64 {
        as_float(self.transactions_per_second)
    }
}

/// One rate, tried.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trial {
    /// The pace that was asked for.
    pub(crate) wanted_per_second: u64,
    /// The pace that the writer kept.
    pub(crate) written_per_second: u64,
    /// The largest lag.
    pub(crate) lag_max_seconds: f64,
    /// By how much the lag grew.
    pub(crate) lag_growth_per_second: f64,
    /// The verdict.
    pub(crate) sustained: bool,
}

/// Searches with a fresh replication; each trial takes some seconds.
pub(crate) async fn measure(pair: &Pair, kind: Kind, seconds: u64) -> Result<Sustained> {
    let mut subject = Subject::start(pair, kind, TABLE, "").await?;
    let mut search = Search::from(FIRST_RATE);
    let mut writer_at_its_limit = false;
    let mut trials = Vec::new();
    while let Some(rate) = search.next() {
        let trial =
            try_rate(&mut subject, rate, seconds).await.with_context(|| format!("{rate} a second"))?;
        let written = trial.written_per_second.min(rate);
        if trial.sustained {
            search.pass(written)
        } else {
            search.fail(written)
        }
        writer_at_its_limit = trial.sustained && as_float(written) < as_float(rate) * PACE_KEPT;
        trials.push(trial);
        if writer_at_its_limit {
            break;
        }
    }
    subject.finish().await?;
    Ok(Sustained { transactions_per_second: search.highest(), writer_at_its_limit, trials })
}

async fn try_rate(subject: &mut Subject, rate: u64, seconds: u64) -> Result<Trial> {
    let observer = subject.destination().connect().await?;
    let first = newest(&observer).await?.map_or(1, |(id, _)| id + 1);
    let begun = Instant::now();
    let writer = Writer::start(subject, first, rate, seconds).await?;

    let mut lags = Vec::new();
    let mut bounded = true;
    while bounded && !writer.has_ended() {
        tokio::time::sleep(LOOK_EVERY).await;
        // Before its first row arrives, a trial is behind by all of its time.
        let behind = newest(&observer).await?.filter(|(id, _)| *id >= first);
        let lag = behind.map_or(begun.elapsed().as_secs_f64(), |(_, lag)| lag);
        bounded = lag < LAG_MAX.as_secs_f64();
        lags.push(lag);
    }
    let took = begun.elapsed().as_secs_f64();
    writer.stop().await?;

    let last = subject.source().number("SELECT coalesce(max(id), 0) FROM bench.paced").await?;
    eventually("the rest arrives", patience() * 10, async || {
        subject.assert_alive().await?;
        Ok(newest(&observer).await?.is_some_and(|(id, _)| id >= last).then_some(()))
    })
    .await?;

    let third = lags.len() / 3;
    let growth = (mean(&lags[2 * third..]) - mean(&lags[third..2 * third])) / (took / 3.0);
    Ok(Trial {
        wanted_per_second: rate,
        written_per_second: per_second(last + 1 - first, took),
        lag_max_seconds: lags.iter().copied().fold(0.0, f64::max),
        lag_growth_per_second: growth,
        sustained: bounded && growth < GROWTH_MAX,
    })
}

/// The newest row's number and age in seconds.
async fn newest(observer: &Client) -> Result<Option<(i64, f64)>> {
    Ok(observer.query_opt(NEWEST, &[]).await?.map(|row| (row.get(0), row.get(1))))
}

/// A session that writes at a steady pace.
struct Writer {
    statement: JoinHandle<Result<(), tokio_postgres::Error>>,
    cancel: CancelToken,
}

impl Writer {
    async fn start(subject: &Subject, first: i64, rate: u64, seconds: u64) -> Result<Self> {
        let client = subject.source().connect().await?;
        client.batch_execute("SET synchronous_commit = off").await?;
        let cancel = client.cancel_token();
        let sql = paced_inserts(first, rate, seconds);
        let statement = tokio::spawn(async move { client.batch_execute(&sql).await });
        Ok(Self { statement, cancel })
    }

    fn has_ended(&self) -> bool {
        self.statement.is_finished()
    }

    /// Ends it, where it has not ended by itself.
    async fn stop(self) -> Result<()> {
        let ended_by_itself = self.has_ended();
        self.cancel.cancel_query(NoTls).await?;
        let result = self.statement.await?;
        if ended_by_itself { result.context("write") } else { Ok(()) }
    }
}

/// A loop on the server: it costs a few microseconds a row and nothing on the way. It looks at the clock two hundred times
/// a second, and ends in time even if it cannot keep the pace.
fn paced_inserts(first: i64, rate: u64, seconds: u64) -> String {
    let (rows, rows_between_looks) = (rate * seconds, (rate / 200).max(1));
    format!(
        "DO $$ DECLARE begun timestamptz := clock_timestamp(); ahead double precision; BEGIN
             FOR i IN 0..{rows} - 1 LOOP
                 INSERT INTO bench.paced VALUES ({first} + i, clock_timestamp());
                 COMMIT;
                 IF i % {rows_between_looks} = 0 THEN
                     ahead := i / {rate}.0 - extract(epoch FROM clock_timestamp() - begun);
                     IF ahead > 0 THEN PERFORM pg_sleep(ahead); END IF;
                     EXIT WHEN clock_timestamp() > begun + interval '{seconds} s';
                 END IF;
             END LOOP;
         END $$"
    )
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / as_float(values.len() as u64) }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn per_second(rows: i64, seconds: f64) -> u64 {
    (as_float(rows.unsigned_abs()) / seconds).round() as u64
}

/// Rates and numbers of rows are far below 2⁵³.
#[allow(clippy::cast_precision_loss)]
fn as_float(number: u64) -> f64 {
    number as f64
}
