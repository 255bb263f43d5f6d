//! What a database looks like apart from its rows, to see that Strait leaves nothing behind.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::database::Database;

/// Every slot, publication, schema, comment, role setting and replica identity, each as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint(BTreeSet<String>);

/// One line for each thing that a synchronisation could leave behind.
const SQL: &str = "
    SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
    UNION ALL
    SELECT 'publication ' || pubname FROM pg_publication
    UNION ALL
    SELECT 'subscription ' || subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
     WHERE d.datname = current_database()
    UNION ALL
    SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL
    SELECT 'event trigger ' || evtname FROM pg_event_trigger
    UNION ALL
    SELECT 'extension ' || extname FROM pg_extension
    UNION ALL
    SELECT 'identity ' || c.oid::regclass::text || ' ' || c.relreplident::text || coalesce(' ' || i.indexrelid::regclass::text, '')
      FROM pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisreplident
     WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text NOT LIKE 'pg\\_%'
       AND c.relnamespace::regnamespace::text <> 'information_schema'
    UNION ALL
    SELECT 'comment ' || pg_describe_object(classoid, objoid, objsubid) || ': ' || description FROM pg_description
     WHERE objoid >= 16384
    UNION ALL
    SELECT 'prepared ' || gid FROM pg_prepared_xacts WHERE database = current_database()";

impl Footprint {
    /// Reads a database's footprint.
    pub async fn of(database: &Database) -> Result<Self> {
        Ok(Self(database.rows(SQL).await?.into_iter().collect()))
    }

    /// Expects one line to have become another.
    pub(crate) fn expect_changed(&mut self, was: &str, is: &str) {
        self.0.remove(was);
        self.0.extend((!is.is_empty()).then(|| is.to_owned()));
    }

    /// Fails with the lines that came or went since. Tables that the scenario itself has made or dropped do not count.
    pub async fn assert_unchanged(&self, database: &Database) -> Result<()> {
        let now = Self::of(database).await?;
        let same_table = |a: &String, b: &String| a.split(' ').take(2).eq(b.split(' ').take(2));
        let counts = |line: &&String, others: &BTreeSet<String>| {
            !line.starts_with("identity ") || others.iter().any(|other| same_table(line, other))
        };
        let came: Vec<_> = now.0.difference(&self.0).filter(|line| counts(line, &self.0)).collect();
        let went: Vec<_> = self.0.difference(&now.0).filter(|line| counts(line, &now.0)).collect();
        ensure!(
            came.is_empty() && went.is_empty(),
            "{database:?} was changed: left behind {came:?}, missing {went:?}"
        );
        Ok(())
    }
}

/// Fails if anything of Strait's is left at the destination: it may hold new tables, but no helper objects.
pub async fn assert_destination_clean(destination: &Database) -> Result<()> {
    let left = destination
        .text(
            "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'strait'
             UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
                        WHERE database = current_database() AND slot_name LIKE 'dts\\_sync\\_%'
             UNION ALL SELECT 'function ' || oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'strait%'
             UNION ALL SELECT 'comment ' || description FROM pg_description WHERE description LIKE '%strait%'",
        )
        .await?;
    ensure!(left.is_empty(), "left behind at the destination: {left}");
    Ok(())
}
