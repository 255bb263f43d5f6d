//! Removes what a task made at its source. May be repeated: whatever is gone already is fine.
//!
//! Identities go back only once nothing publishes the table's updates any more, because the application's own UPDATE would
//! fail otherwise. A table that another task has published meanwhile keeps its identity, and that task the record of it.

use strait_postgres::{Client, Error, NAME_PREFIX, PublicationName, quote};

use strait_proto::TaskId;

use crate::capture::locks::{Ddl, with_retry};
use crate::capture::record::{Identity, IdentityRecord, Record};
use crate::capture::{heartbeat, identity, slot};
use crate::error::{During, RunError};
use crate::source::Source;

/// Releases the task's source and says what was done. An error's remedy is the SQL that does the rest.
pub(crate) async fn run(source: &Source) -> Result<Vec<String>, RunError> {
    let mut release = Release { source, actions: Vec::new(), record: Record::default() };
    match release.run().await {
        Ok(()) => Ok(release.actions),
        Err(error) => {
            let mut failure = error.failure();
            let sql = manual_sql(source, &release.record);
            failure.remedy =
                format!("{}\nOr do it by hand, as a superuser:\n{sql}", failure.remedy).trim().to_owned();
            Err(RunError::Found(Box::new(failure)))
        }
    }
}

struct Release<'a> {
    source: &'a Source,
    actions: Vec<String>,
    /// What is still to be restored, as far as it is known.
    record: Record,
}

impl Release<'_> {
    async fn run(&mut self) -> Result<(), RunError> {
        let source = self.source;
        let client = source.connect().await.during("connect to the source")?;
        // The publication is looked at first: should a slot resist, the SQL to do it by hand has to be complete.
        let record = Record::read(&client, &source.publication).await.during("look for the publication")?;
        self.record = record.clone().map(|(record, _)| record).unwrap_or_default();
        for slot in source.slots() {
            if slot::drop(&client, slot, &source.application_name).await? {
                self.actions.push(format!("dropped replication slot {slot}"));
            }
        }
        if heartbeat::stands(&client, &source.task_id).await.during("look for the heartbeat's table")? {
            self.ddl(&client, &heartbeat::remove_sql(&source.task_id)).await?;
            self.actions.push("removed the task from table strait.heartbeat".to_owned());
        }
        let Some((record, ours)) = record else {
            return Ok(());
        };
        if !ours {
            self.actions.push(format!(
                "the comment of publication {} was changed by somebody: replica identities were left as they are",
                source.publication
            ));
        }
        let name = quote::identifier(source.publication.as_str());
        // Needs no lock on the tables; from here on nothing of the application depends on the publication.
        self.ddl(&client, &format!("ALTER PUBLICATION {name} SET (publish = 'insert')")).await?;
        for entry in &record.identities {
            let doing = format!("restore the replica identity of {}.{}", entry.schema, entry.name);
            let step = || restore(&client, &source.publication, entry.relation_id);
            if let Some(action) = with_retry(&client, &doing, step).await? {
                self.actions.push(action);
            }
            self.record.identities.retain(|left| left.relation_id != entry.relation_id);
        }
        self.ddl(&client, &format!("DROP PUBLICATION IF EXISTS {name}")).await?;
        self.actions.push(format!("dropped publication {}", source.publication));
        Ok(())
    }

    async fn ddl(&self, client: &Client, sql: &str) -> Result<(), RunError> {
        with_retry(client, "remove the publication and the heartbeat", || async {
            let ddl = Ddl::begin(client).await?;
            ddl.execute(sql).await?;
            ddl.commit().await
        })
        .await
    }
}

/// One transaction: a table's identity goes back, or its record goes to another task. Says what was done.
async fn restore(
    client: &Client,
    publication: &PublicationName,
    relation_id: u32,
) -> Result<Option<String>, Error> {
    let ddl = Ddl::begin(client).await?;
    let (mut record, _) = Record::read(ddl.client(), publication).await?.unwrap_or_default();
    let Some(entry) = record.identity(relation_id).cloned() else {
        ddl.roll_back().await?;
        return Ok(None);
    };
    let current = identity::current(ddl.client(), relation_id).await?;
    let other = other_publication(ddl.client(), publication, relation_id).await?;
    let action = match (current, other) {
        (None, _) => None,
        (Some((relation, _)), Some(other)) => {
            hand_over(&ddl, &entry, &other).await?;
            Some(format!("{}: REPLICA IDENTITY stays FULL for publication {other}", relation.name))
        }
        (Some((relation, Identity::Full)), None) => {
            let sql = entry.identity.sql();
            ddl.execute(&format!("ALTER TABLE ONLY {} REPLICA IDENTITY {sql}", relation.sql())).await?;
            Some(format!("{}: restored REPLICA IDENTITY {sql}", relation.name))
        }
        (Some((relation, _)), None) => {
            Some(format!("{}: REPLICA IDENTITY was changed by somebody, left as it is", relation.name))
        }
    };
    record.identities.retain(|left| left.relation_id != relation_id);
    ddl.execute(&record.write_sql(publication)?).await?;
    ddl.commit().await?;
    Ok(action)
}

/// A publication of another task that has the table, or a table above it, and is not being released itself.
async fn other_publication(
    client: &Client,
    publication: &PublicationName,
    relation_id: u32,
) -> Result<Option<String>, Error> {
    const SQL: &str = "
        SELECT p.pubname
        FROM pg_publication AS p JOIN pg_publication_rel AS r ON r.prpubid = p.oid
        WHERE starts_with(p.pubname, $1) AND p.pubname <> $2 AND p.pubupdate
          AND (r.prrelid = $3 OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors($3::oid)))
        ORDER BY p.pubname LIMIT 1";
    let row = client.query_opt(SQL, &[&NAME_PREFIX, &publication.as_str(), &relation_id]).await?;
    Ok(row.map(|row| row.try_get("pubname")).transpose()?)
}

async fn hand_over(ddl: &Ddl<'_>, entry: &IdentityRecord, other: &str) -> Result<(), Error> {
    let task_id = other.strip_prefix(NAME_PREFIX).and_then(parse_either);
    let Some(task_id) = task_id else {
        let cause = format!("publication {other} is named like a task's, and is none");
        return Err(Error::refused(cause, "Rename or drop it."));
    };
    let heir = PublicationName::for_task(&task_id);
    let (mut record, _) = Record::read(ddl.client(), &heir).await?.unwrap_or_default();
    if record.identity(entry.relation_id).is_none() {
        record.identities.push(entry.clone());
        ddl.execute(&record.write_sql(&heir)?).await?;
    }
    Ok(())
}

/// The id of a task, or of the tables that join one.
fn parse_either(text: &str) -> Option<TaskId> {
    text.parse().ok().or_else(|| {
        let task: TaskId = text.get(..TaskId::LENGTH)?.parse().ok()?;
        Some(task.joining()).filter(|joining| joining.as_str() == text)
    })
}

/// What does the whole of it by hand. The publication goes first: see the module.
fn manual_sql(source: &Source, record: &Record) -> String {
    let slots = source.slots().map(|slot| quote::literal(slot.as_str())).join(", ");
    let mut statements = vec![
        format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name IN ({slots});"
        ),
        format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN ({slots});"
        ),
        format!("DROP PUBLICATION IF EXISTS {};", quote::identifier(source.publication.as_str())),
    ];
    statements.extend(record.identities.iter().map(IdentityRecord::restore_sql));
    statements.push(heartbeat::remove_sql(&source.task_id));
    statements.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sql_to_paste_is_complete() {
        let task_id = "abcdefghijkl".parse().unwrap();
        let source = Source::new(task_id, "postgres://u@h/d".parse().unwrap(), None);
        let mut record = Record::default();
        record.identities.push(IdentityRecord {
            relation_id: 1,
            schema: "s".into(),
            name: "t".into(),
            identity: Identity::Default,
        });
        let expected = r#"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name IN ('dts_sync_abcdefghijkl', 'dts_sync_abcdefghijkl_copy', 'dts_sync_abcdefghijkl_catch_up');
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN ('dts_sync_abcdefghijkl', 'dts_sync_abcdefghijkl_copy', 'dts_sync_abcdefghijkl_catch_up');
DROP PUBLICATION IF EXISTS "dts_sync_abcdefghijkl";
ALTER TABLE ONLY "s"."t" REPLICA IDENTITY DEFAULT;
"#;
        let expected = expected.to_owned() + &heartbeat::remove_sql(&source.task_id);
        assert_eq!(manual_sql(&source, &record), expected);
    }
}
