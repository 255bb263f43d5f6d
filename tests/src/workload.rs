//! Random writes from several connections, of every sort that replication has to survive.
//!
//! The tables are small and the keys few, so that changes meet each other: the same row is inserted, updated, moved and
//! deleted within moments, unique values swap, identical rows of a keyless table come and go one at a time, transactions
//! and savepoints roll back. A statement that fails, say by a unique key, rolls its transaction back, which is one more
//! thing to survive. Connections that break are made again, so that servers may restart underneath.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::server::Server;

/// The tables, with a few rows each.
const SCHEMA: &str = include_str!("../sql/workload.sql");

/// A running load.
#[derive(Debug)]
pub struct Workload {
    stop: CancellationToken,
    writers: Vec<JoinHandle<()>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    committed: AtomicU64,
    failed: AtomicU64,
}

impl Workload {
    /// Creates the load's tables in schema `load`.
    pub async fn prepare(database: &Database) -> Result<()> {
        database.run(SCHEMA).await
    }

    /// Starts writing from so many connections at about so many transactions a second in all.
    pub fn start(database: &Database, connections: u32, transactions_per_second: u32) -> Self {
        let stop = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let seed = crate::wait::from_environment("STRAIT_TEST_SEED", rand::random());
        eprintln!("workload on {}: STRAIT_TEST_SEED={seed}", database.name());
        let pause = Duration::from_secs(1) * connections / transactions_per_second.max(1);
        let writers = (0..connections)
            .map(|number| {
                let writer = Writer {
                    server: Arc::clone(database.server()),
                    database: database.name().to_owned(),
                    random: StdRng::seed_from_u64(seed.wrapping_add(number.into())),
                    pause,
                    stop: stop.clone(),
                    counters: Arc::clone(&counters),
                };
                tokio::spawn(writer.run())
            })
            .collect();
        Self { stop, writers, counters }
    }

    /// How many transactions have committed so far.
    pub fn committed(&self) -> u64 {
        self.counters.committed.load(Ordering::Relaxed)
    }

    /// Lets each connection end its transaction. Fails if hardly anything was written: then the test tested nothing.
    pub async fn stop(mut self) -> Result<u64> {
        self.stop.cancel();
        for writer in self.writers.drain(..) {
            writer.await?;
        }
        let (committed, failed) = (self.committed(), self.counters.failed.load(Ordering::Relaxed));
        eprintln!("workload: {committed} transactions committed, {failed} failed or rolled back");
        ensure!(
            committed > 0 && committed > failed / 4,
            "only {committed} transactions committed, {failed} did not"
        );
        Ok(committed)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Writer {
    server: Arc<Server>,
    database: String,
    random: StdRng,
    pause: Duration,
    stop: CancellationToken,
    counters: Arc<Counters>,
}

impl Writer {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut session: Option<Client> = None;
        while !self.stop.is_cancelled() {
            tokio::select! { _ = ticks.tick() => {}, () = self.stop.cancelled() => return }
            let client = match session.take() {
                Some(client) if !client.is_closed() => client,
                _ => match self.server.connect(&self.database).await {
                    Ok(client) => client,
                    Err(_) => continue,
                },
            };
            let (sql, commits) = self.transaction();
            let counter = match client.batch_execute(&sql).await {
                Ok(()) if commits => &self.counters.committed,
                Ok(()) => &self.counters.failed,
                Err(_) => {
                    // Aborted by a key, a deadlock, or the server's end; the latter shows at the next use.
                    client.batch_execute("ROLLBACK").await.ok();
                    &self.counters.failed
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
            session = Some(client);
        }
    }

    /// One transaction and whether it means to commit.
    fn transaction(&mut self) -> (String, bool) {
        let mut sql = String::from("BEGIN;\n");
        for _ in 0..self.random.random_range(1..=4) {
            match self.random.random_range(0..20) {
                0 => sql.push_str(&format!("SAVEPOINT a;\n{}ROLLBACK TO a;\n", self.change())),
                1 => sql.push_str(&format!(
                    "SAVEPOINT a;\n{}SAVEPOINT b;\n{}ROLLBACK TO b;\nRELEASE a;\n",
                    self.change(),
                    self.change()
                )),
                _ => sql.push_str(&self.change()),
            }
        }
        let commits = self.random.random_range(0..15) != 0;
        sql.push_str(if commits { "COMMIT" } else { "ROLLBACK" });
        (sql, commits)
    }

    /// One or a few statements, each ended by `;`.
    fn change(&mut self) -> String {
        let (i, k, r) = (
            self.random.random_range(1..300),
            self.random.random_range(1..300),
            self.random.random_range(0..1_000_000),
        );
        let few = self.random.random_range(1..6);
        match self.random.random_range(0..1000) {
            0..120 => format!(
                "INSERT INTO load.keyed (n, t, j) SELECT {r}, 't' || g, jsonb_build_object('k', {k}, 'g', g) FROM generate_series(1, {few}) g;\n"
            ),
            120..220 => {
                format!("UPDATE load.keyed SET n = n + {r}, t = NULLIF(t, 't1') WHERE id % 300 = {i};\n")
            }
            220..260 => format!("UPDATE load.keyed SET id = -id WHERE id % 300 = {i};\n"),
            260..320 => format!("DELETE FROM load.keyed WHERE abs(id) % 300 = {i};\n"),
            320..400 => format!(
                "INSERT INTO load.compound VALUES ({i}, 'b{few}', {r}.50) ON CONFLICT (a, b) DO UPDATE SET v = excluded.v;\n"
            ),
            400..430 => format!(
                "UPDATE load.compound SET a = {k}, b = b || '''\\' WHERE a = {i} AND length(b) < 10;\n"
            ),
            430..450 => format!("DELETE FROM load.compound WHERE a = {i};\n"),
            450..490 => format!(
                "INSERT INTO load.toast VALUES ({i}, {r}, repeat(md5('{r}'), 300)) ON CONFLICT (id) DO UPDATE SET big = excluded.big;\n"
            ),
            490..550 => format!("UPDATE load.toast SET small = {r} WHERE id = {i};\n"),
            550..565 => format!("UPDATE load.toast SET id = {k} WHERE id = {i};\n"),
            565..660 => {
                format!(
                    "INSERT INTO load.keyless SELECT {few}, 'dup', NULL FROM generate_series(1, {few});\n"
                )
            }
            660..710 => format!(
                "UPDATE load.keyless SET b = b || 'x' WHERE ctid = (SELECT ctid FROM load.keyless WHERE a = {few} LIMIT 1);\n"
            ),
            710..770 => format!(
                "DELETE FROM load.keyless WHERE ctid IN (SELECT ctid FROM load.keyless WHERE a = {few} LIMIT {few});\n"
            ),
            770..810 => format!("SELECT load.swap({}, {});\n", 1 + i % 20, 1 + k % 20),
            810..850 => {
                format!("INSERT INTO load.parts VALUES ({i}, {}, 'v{r}') ON CONFLICT DO NOTHING;\n", r % 3)
            }
            850..880 => {
                format!("UPDATE load.parts SET region = (region + 1) % 3, v = 'moved' WHERE id = {i};\n")
            }
            880..895 => format!("DELETE FROM load.parts WHERE id = {i};\n"),
            895..930 => format!(
                "WITH p AS (INSERT INTO load.parent (name) VALUES ('p{r}') RETURNING id) INSERT INTO load.child (parent_id, note) SELECT id, 'n' FROM p, generate_series(1, {few});\n"
            ),
            930..950 => {
                "DELETE FROM load.parent WHERE id = (SELECT id FROM load.parent ORDER BY random() LIMIT 1);\n"
                    .into()
            }
            950..970 => {
                format!("UPDATE load.whole SET v = '{r}', w = '{{\"r\": {r}}}' WHERE id % 40 = {};\n", i % 40)
            }
            970..985 => format!(
                "INSERT INTO load.purged SELECT g, '{r}' FROM generate_series({i}, {i} + 200) g ON CONFLICT DO NOTHING;\n"
            ),
            985..990 => "TRUNCATE load.purged;\n".into(),
            990..992 => "TRUNCATE load.parent RESTART IDENTITY CASCADE;\n".into(),
            // A large one, now and then.
            992..996 => format!(
                "INSERT INTO load.keyed (n, t) SELECT g, repeat('y', 100) FROM generate_series(1, 3000) g;\nDELETE FROM load.keyed WHERE t LIKE 'yy%' AND id % 7 <> {};\n",
                i % 7
            ),
            _ => "DELETE FROM load.keyless WHERE length(b) > 5;\n".into(),
        }
    }
}
