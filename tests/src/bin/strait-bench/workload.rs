//! The backlogs: what the source does while nobody reads it.
//!
//! Every run of a workload makes the same changes in the same order. The last transaction writes the row of
//! `bench.marker`: it arrives after everything else, and to look for it costs the destination next to nothing.

use std::str::FromStr;

use anyhow::{Result, bail};

/// Which workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    /// One-row inserts.
    A,
    /// TPC-B.
    B,
    /// Three large transactions.
    C,
    /// Wide rows of which a small column changes.
    D,
    /// Few rows, changed again and again.
    E,
}

impl Letter {
    /// For reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
        }
    }
}

impl FromStr for Letter {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match [Self::A, Self::B, Self::C, Self::D, Self::E].into_iter().find(|letter| letter.name() == text) {
            Some(letter) => Ok(letter),
            None => {
                bail!("{text:?} is none of A, B, C, D, E, latency, rate, schema, copy-pgbench and copy-wide")
            }
        }
    }
}

/// A workload at some scale.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Which.
    pub(crate) letter: Letter,
    /// What it is, with its size.
    pub(crate) title: String,
    /// The tables, on both sides before the replication begins.
    pub(crate) tables: &'static str,
    /// What is in them when it begins, on the source.
    pub(crate) fill: String,
    /// The changes; each statement commits by itself, or is a loop that commits.
    pub(crate) writes: Vec<String>,
    /// A query with the same answer on both sides once all changes have arrived.
    pub(crate) state: &'static str,
}

/// The last transaction of every workload, and how to see that it has arrived.
pub(crate) const MARKER_TABLE: &str = "CREATE TABLE bench.marker (id int PRIMARY KEY)";
pub(crate) const MARKER_WRITE: &str = "INSERT INTO bench.marker VALUES (1)";
pub(crate) const MARKER_LOOK: &str = "SELECT 1 FROM bench.marker WHERE id = 1";

impl Workload {
    /// The workload with its sizes multiplied by `scale`.
    pub(crate) fn new(letter: Letter, scale: f64) -> Self {
        match letter {
            Letter::A => singles(scaled(300_000, scale)),
            Letter::B => tpc_b(scaled(200_000, scale), scaled(10, scale)),
            Letter::C => bulk(scaled(2_000_000, scale)),
            Letter::D => wide(scaled(50_000, scale), scaled(10_000, scale)),
            Letter::E => hot(scaled(500_000, scale)),
        }
    }
}

fn singles(rows: u64) -> Workload {
    Workload {
        letter: Letter::A,
        title: format!("{rows} one-row transactions"),
        tables: "CREATE TABLE bench.singles (id bigint PRIMARY KEY, n int, payload text)",
        fill: String::new(),
        writes: vec![each_committed(
            rows,
            "INSERT INTO bench.singles VALUES (i, i % 1000, repeat('x', 100));",
        )],
        state: "SELECT count(*), sum(id), sum(n) FROM bench.singles",
    }
}

/// The transaction of pgbench, in a loop on the server: a client would take longer to make it than anyone to carry it.
fn tpc_b(transactions: u64, branches: u64) -> Workload {
    let (tellers, accounts) = (10 * branches, 100_000 * branches);
    let transaction = format!(
        "aid := 1 + floor(random() * {accounts}); tid := 1 + floor(random() * {tellers});
         bid := 1 + floor(random() * {branches}); delta := floor(random() * 10001) - 5000;
         UPDATE bench.pgbench_accounts SET abalance = abalance + delta WHERE pgbench_accounts.aid = tpc_b.aid;
         PERFORM abalance FROM bench.pgbench_accounts WHERE pgbench_accounts.aid = tpc_b.aid;
         UPDATE bench.pgbench_tellers SET tbalance = tbalance + delta WHERE pgbench_tellers.tid = tpc_b.tid;
         UPDATE bench.pgbench_branches SET bbalance = bbalance + delta WHERE pgbench_branches.bid = tpc_b.bid;
         INSERT INTO bench.pgbench_history (tid, bid, aid, delta, mtime) VALUES (tid, bid, aid, delta, now());"
    );
    Workload {
        letter: Letter::B,
        title: format!("{transactions} TPC-B transactions, {accounts} accounts"),
        tables: "
            CREATE TABLE bench.pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
            CREATE TABLE bench.pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
            CREATE TABLE bench.pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
            CREATE TABLE bench.pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))",
        fill: format!(
            "INSERT INTO bench.pgbench_branches SELECT g, 0, '' FROM generate_series(1, {branches}) g;
             INSERT INTO bench.pgbench_tellers SELECT g, 1 + (g - 1) / 10, 0, '' FROM generate_series(1, {tellers}) g;
             INSERT INTO bench.pgbench_accounts
                 SELECT g, 1 + (g - 1) / 100000, 0, '' FROM generate_series(1, {accounts}) g"
        ),
        writes: vec![
            "SELECT setseed(0.5)".to_owned(),
            format!(
                "DO $$ <<tpc_b>> DECLARE aid int; tid int; bid int; delta int; BEGIN
                     FOR i IN 1..{transactions} LOOP {transaction} COMMIT; END LOOP;
                 END $$"
            ),
        ],
        state: "
            SELECT (SELECT sum(abalance::bigint * aid) FROM bench.pgbench_accounts),
                   (SELECT sum(tbalance::bigint * tid) FROM bench.pgbench_tellers),
                   (SELECT sum(bbalance::bigint * bid) FROM bench.pgbench_branches), count(*), sum(delta)
              FROM bench.pgbench_history",
    }
}

/// The rows that are deleted are not among those that were updated before.
fn bulk(rows: u64) -> Workload {
    let (updated, deleted) = (rows / 2, rows / 4);
    Workload {
        letter: Letter::C,
        title: format!("one insert of {rows} rows, one update of {updated}, one delete of {deleted}"),
        tables: "CREATE TABLE bench.bulk (id bigint PRIMARY KEY, n bigint, payload text)",
        fill: String::new(),
        writes: vec![
            format!(
                "INSERT INTO bench.bulk SELECT g, 0, repeat(md5(g::text), 3) FROM generate_series(1, {rows}) g"
            ),
            "UPDATE bench.bulk SET n = id WHERE id % 2 = 0".to_owned(),
            "DELETE FROM bench.bulk WHERE id % 4 = 1".to_owned(),
        ],
        state: "SELECT count(*), sum(id), sum(n) FROM bench.bulk",
    }
}

/// Three values of 10 kB in each row, out of line on both sides: digests do not compress.
fn wide(updates: u64, rows: u64) -> Workload {
    Workload {
        letter: Letter::D,
        title: format!("{updates} one-row updates of {rows} rows with 30 kB of unchanged TOAST values each"),
        tables: "CREATE TABLE bench.wide (id bigint PRIMARY KEY, n bigint, a text, b text, c text)",
        fill: format!(
            "INSERT INTO bench.wide
             SELECT g, 0, v, v, v
               FROM (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 320) g) long (v),
                    generate_series(1, {rows}) g"
        ),
        // 7919 is prime: neighbouring transactions change rows that lie far apart.
        writes: vec![each_committed(
            updates,
            &format!("UPDATE bench.wide SET n = i WHERE id = 1 + (i::bigint * 7919) % {rows};"),
        )],
        state: "SELECT count(*), sum(n * id), sum(length(a) + length(b) + length(c)) FROM bench.wide",
    }
}

fn hot(updates: u64) -> Workload {
    const KEYS: u64 = 1_000;
    Workload {
        letter: Letter::E,
        title: format!("{updates} one-row updates of the same {KEYS} rows"),
        tables: "CREATE TABLE bench.hot (id bigint PRIMARY KEY, n bigint, payload text)",
        fill: format!(
            "INSERT INTO bench.hot SELECT g, 0, repeat('x', 100) FROM generate_series(1, {KEYS}) g"
        ),
        writes: vec![each_committed(
            updates,
            &format!("UPDATE bench.hot SET n = n + i WHERE id = 1 + (i::bigint * 7919) % {KEYS};"),
        )],
        state: "SELECT count(*), sum(n * id) FROM bench.hot",
    }
}

/// A loop on the server with `i`, an `int`, as the number of the turn; each turn is a transaction.
fn each_committed(turns: u64, statement: &str) -> String {
    format!("DO $$ BEGIN FOR i IN 1..{turns} LOOP {statement} COMMIT; END LOOP; END $$")
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scaled(size: u64, scale: f64) -> u64 {
    ((size as f64 * scale) as u64).max(1)
}
