//! Whatever PostgreSQL takes as a name, of a schema, a table, a column, a key, an index, a type or a sequence, goes through the
//! whole way: schema, rows and changes.

use std::path::Path;

use anyhow::{Result, ensure};
use strait_tests::oracle;
use strait_tests::scenario::Scenario;

/// A statement for each of the tables, all in one transaction; `{t}` is the table, `{c}` a quoted column.
fn on_all(names: &[String], statement: &str) -> String {
    let column = |place: usize| quoted(&names[place % names.len()]);
    let of = |(place, name): (usize, &String)| {
        let table = format!("{0}.{0}", quoted(name));
        // Not one of the first three, which are the key and two columns of other types.
        let text = column(3 + place % (names.len() - 3));
        statement.replace("{t}", &table).replace("{c}", &text).replace("{key}", &column(0))
    };
    names.iter().enumerate().map(of).collect::<Vec<_>>().join(";\n")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_odd_name_goes_the_whole_way() -> Result<()> {
    let mut scenario = Scenario::new("odd").await?;
    scenario
        .source
        .run_script(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/odd_identifiers.sql"))
        .await?;
    scenario.start().await?;

    let client = scenario.source.connect().await?;
    let names = client.query("SELECT name FROM public.odd_name ORDER BY place", &[]).await?;
    let names: Vec<String> = names.iter().map(|row| row.get(0)).collect();
    ensure!(names.len() > 20, "only {} names", names.len());
    scenario.foreign_keys_arrived().await?;
    for statement in [
        "INSERT INTO {t} ({key}, {c}) SELECT n, 'new ' || n FROM generate_series(101, 110) AS n",
        "UPDATE {t} SET {c} = 'changed' WHERE {key} % 3 = 0",
        "UPDATE {t} SET {key} = {key} + 1000 WHERE {key} > 105",
    ] {
        // Keys refer to the next table's: whole rounds are right, not each statement.
        let all = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;\n{};\nCOMMIT",
            on_all(&names, statement)
        );
        scenario.source.run(&all).await?;
    }
    scenario.assert_equal().await?;
    let emptied = on_all(&names, "DELETE FROM {t} WHERE {key} > 100");
    scenario
        .source
        .run(&format!("BEGIN; SET LOCAL session_replication_role = replica;\n{emptied};\nCOMMIT"))
        .await?;
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0, "conflicts without another writer");

    let task = scenario.task().await?;
    oracle::assert_same_schema(&scenario.source, &scenario.destination, &task.objects, &[], |_| false)
        .await?;
    scenario.finish().await
}
