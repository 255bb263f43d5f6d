//! The databases that are copied.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use strait_tests::database::Database;
use strait_tests::version::client_program;
use tokio::process::Command;

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadKind {
    /// pgbench's tables.
    Pgbench,
    /// One wide table of many types.
    Wide,
}

impl LoadKind {
    /// For options and reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pgbench => "copy-pgbench",
            Self::Wide => "copy-wide",
        }
    }
}

impl FromStr for LoadKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match [Self::Pgbench, Self::Wide].into_iter().find(|kind| kind.name() == text) {
            Some(kind) => Ok(kind),
            None => bail!("{text:?} is not a database to copy"),
        }
    }
}

/// A database of some size.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) kind: LoadKind,
    /// What it is, with its size.
    pub(crate) title: String,
    /// pgbench's scale, or the wide table's rows.
    size: u64,
    /// Largest first.
    pub(crate) tables: &'static [&'static str],
    /// A query with the same answer on both sides once all is copied.
    pub(crate) state: &'static str,
}

/// pgbench at this scale, at scale 1 of the benchmark.
const PGBENCH_SCALE: f64 = 100.0;
/// Rows of the wide table, likewise.
const WIDE_ROWS: f64 = 1_000_000.0;

const WIDE_TABLE: &str = "
    CREATE TABLE bench.wide (
        id bigint PRIMARY KEY, customer int NOT NULL, region smallint NOT NULL, active boolean NOT NULL,
        price numeric(12, 2), weight double precision, ratio real, reference uuid NOT NULL,
        created timestamptz NOT NULL, changed timestamp, day date, span interval,
        code varchar(20) NOT NULL, title text NOT NULL, description text, document jsonb, tags text[], digest bytea,
        address inet, n1 int, n2 int, n3 bigint, n4 bigint, t1 text, t2 text, t3 text, d1 numeric, d2 numeric);
    CREATE INDEX wide_customer ON bench.wide (customer, created);
    CREATE INDEX wide_code ON bench.wide (code)";

impl Load {
    /// The database with its size multiplied by `scale`.
    pub(crate) fn new(kind: LoadKind, scale: f64) -> Self {
        match kind {
            LoadKind::Pgbench => {
                let size = scaled(PGBENCH_SCALE, scale);
                Self {
                    kind,
                    title: format!("pgbench at scale {size}: {} accounts", size * 100_000),
                    size,
                    tables: &["pgbench_accounts", "pgbench_tellers", "pgbench_branches", "pgbench_history"],
                    state: "SELECT count(*), sum(aid::bigint), sum(bid), sum(abalance), sum(length(filler)),
                                   (SELECT count(*) FROM bench.pgbench_tellers),
                                   (SELECT count(*) FROM bench.pgbench_branches)
                              FROM bench.pgbench_accounts",
                }
            }
            LoadKind::Wide => {
                let size = scaled(WIDE_ROWS, scale);
                Self {
                    kind,
                    title: format!(
                        "a table of 28 columns of many types, two secondary indexes, {size} rows"
                    ),
                    size,
                    tables: &["wide"],
                    state: "SELECT count(*), sum(id), sum(price), sum(weight::numeric), max(created), sum(length(title)),
                                   sum(hashtextextended(document::text, 0)), sum(hash_array_extended(tags, 0)),
                                   sum(extract(epoch FROM span)), count(description), sum(length(digest))
                              FROM bench.wide",
                }
            }
        }
    }

    /// Makes and fills the tables.
    pub(super) async fn fill(&self, source: &Database) -> Result<()> {
        source.run("CREATE SCHEMA bench").await?;
        match self.kind {
            LoadKind::Pgbench => self.pgbench(source).await,
            LoadKind::Wide => self.wide(source).await,
        }
    }

    async fn pgbench(&self, source: &Database) -> Result<()> {
        let mut pgbench = Command::new(client_program("pgbench")?);
        pgbench.args(["--initialize", "--init-steps=dtGp", "--quiet", "--scale"]).arg(self.size.to_string());
        pgbench.env("PGOPTIONS", "-c search_path=bench").arg(source.uri());
        let output = pgbench.output().await.context("run pgbench")?;
        ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    async fn wide(&self, source: &Database) -> Result<()> {
        let rows = self.size;
        let fill = format!(
            "INSERT INTO bench.wide
             SELECT g, (g::bigint * 7919) % 100000, g % 50, g % 3 = 0,
                    (g % 1000000) / 100.0, sqrt(g), g / 7.0, md5(g::text)::uuid,
                    timestamptz '2020-01-01' + g * interval '17 s', timestamp '2020-01-01' + g * interval '3.5 s',
                    date '2020-01-01' + g % 2000, g * interval '1 s',
                    'C' || lpad(((g::bigint * 104729) % 10000000)::text, 12, '0'), 'title of ' || md5(g::text),
                    CASE WHEN g % 4 > 0 THEN E'first line\\nsecond\\tline ' || repeat(md5(g::text), 3) END,
                    jsonb_build_object('id', g, 'name', md5(g::text), 'list', jsonb_build_array(g, g + 1)),
                    ARRAY['tag ' || g % 10, 'tag ' || g % 100], decode(md5(g::text), 'hex'),
                    ('10.0.0.0'::inet + g % 65536), g % 7, NULL, g, -g, md5((g + 1)::text), NULL, 'constant',
                    g * 1.5, NULL
               FROM generate_series(1, {rows}) g"
        );
        source.run_each(&[WIDE_TABLE, &fill]).await
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scaled(size: f64, scale: f64) -> u64 {
    ((size * scale) as u64).max(1)
}
