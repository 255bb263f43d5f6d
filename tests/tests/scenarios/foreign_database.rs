//! Databases that somebody else designed, with what nobody here would have thought of.

use std::time::Duration;

use anyhow::{Result, ensure};
use strait_tests::compare;
use strait_tests::database::Database;
use strait_tests::gnumed;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;
use strait_tests::server::ServerOptions;
use strait_tests::version::PgVersion;
use strait_tests::wait::eventually;
use tokio_util::sync::CancellationToken;

/// Bootstrapping it the first time takes minutes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a practice does all day; its triggers write audit trails into tables without keys. `{n}` counts up.
const WRITES: [&str; 6] = [
    // Not today: GNUmed moves a birth to the middle of its day, and refuses one that is still to come.
    "INSERT INTO dem.identity (gender, dob, comment) VALUES ('m', now() - interval '{n} days' - interval '1 day', 'patient {n}')",
    "UPDATE dem.identity SET comment = comment || ', seen again', title = 'Dr.' WHERE pk % 7 = {n} % 7",
    "UPDATE ref.atc SET term = term || '*' WHERE pk % 499 = {n} % 499",
    "UPDATE dem.urb SET postcode = '{n}' WHERE id % 997 = {n} % 997",
    "DELETE FROM dem.name_gender_map WHERE id % 1009 = {n} % 1009",
    "INSERT INTO dem.name_gender_map (name, gender) VALUES ('name {n}', 'f')",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_medical_record_is_synchronised_while_it_is_written_to() -> Result<()> {
    let server = || ServerOptions::new(PgVersion::V15);
    let pair = Pair::of(server(), server()).await?;
    let source = Database::create(&pair.source, "gnumed").await?;
    if !gnumed::restore(&source).await? {
        return Ok(());
    }
    let destination = Database::create(&pair.destination, "gnumed").await?;
    destination.run("CREATE EXTENSION pg_trgm").await?;
    let mut scenario = Scenario::between(source, destination).await?;

    // GNUmed guards its database so. The sessions that the test itself needs stand already.
    let writer = scenario.source.connect().await?;
    for database in [&scenario.source, &scenario.destination] {
        let name = database.name();
        database.run(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await?;
    }
    let stop = CancellationToken::new();
    let writing = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut n = 0_usize;
            while !stop.is_cancelled() {
                let sql = WRITES[n % WRITES.len()].replace("{n}", &n.to_string());
                writer.batch_execute(&sql).await.map_err(|error| anyhow::anyhow!("{sql}: {error}"))?;
                n += 1;
            }
            anyhow::Ok(n)
        }
    });
    scenario.start_processes().await?;
    let live = scenario.source.number("SELECT count(*) FROM dem.identity").await?;
    let goes_on = eventually("the writing goes on", PATIENCE, async || {
        ensure!(!writing.is_finished(), "the writing has failed");
        let now = scenario.source.number("SELECT count(*) FROM dem.identity").await?;
        Ok((now > live + 100).then_some(()))
    })
    .await;
    stop.cancel();
    // What it met says more than how long was waited for it.
    ensure!(writing.await?? > 0, "nothing was written meanwhile");
    goes_on?;

    scenario.settle_within(PATIENCE).await?;
    let logged = scenario
        .source
        .rows(
            "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class
             WHERE relkind = 'r' AND relpersistence = 'p'
               AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
             ORDER BY 1",
        )
        .await?;
    ensure!(logged.len() > 250, "only {} tables", logged.len());
    compare::assert_tables_equal(&scenario.source, &scenario.destination, &logged).await?;
    // An unlogged table is not synchronised, and so are its keys.
    let keys = "SELECT count(*) FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
                WHERE contype = 'f' AND relpersistence = 'p'
                  AND confrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence = 'u')";
    let wanted = scenario.source.number(keys).await?;
    eventually("every foreign key is at the destination", PATIENCE, async || {
        Ok((scenario.destination.number(keys).await? == wanted).then_some(()))
    })
    .await?;
    ensure!(scenario.conflicts().await? == 0, "conflicts without another writer");
    scenario.finish().await
}
