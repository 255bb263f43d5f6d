//! 005_encoding: the destination may store text in another encoding.

use anyhow::{Result, ensure};
use strait_tests::database::Database;
use strait_tests::pair::Pair;
use strait_tests::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn text_is_converted() -> Result<()> {
    let pair = Pair::shared().await?;
    let source = Database::create(&pair.source, "p005_encoding").await?;
    let latin = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    let destination = Database::create_with(&pair.destination, "p005_encoding", latin).await?;
    let mut scenario = Scenario::between(source, destination).await?;
    scenario.source.run("CREATE TABLE \"tëst\" (a text PRIMARY KEY, \"ö\" text)").await?;
    scenario.source.run("INSERT INTO \"tëst\" VALUES ('kopiert: ÄÖÜ', 'ß')").await?;
    scenario.start().await?;
    scenario.source.run("INSERT INTO \"tëst\" VALUES ('geändert: ÄÖÜ', 'é')").await?;
    scenario.source.run("UPDATE \"tëst\" SET \"ö\" = 'ÿ' WHERE a LIKE 'ge%'").await?;
    scenario.assert_same_answer("SELECT * FROM \"tëst\" ORDER BY a COLLATE \"C\"").await?;
    let bytes = "SELECT octet_length(a) = length(a) FROM \"tëst\" LIMIT 1";
    ensure!(scenario.destination.text(bytes).await? == "t", "not stored in LATIN1");
    scenario.finish().await
}
