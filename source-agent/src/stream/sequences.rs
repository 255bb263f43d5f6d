//! Carries the positions of sequences over. They are not part of the change stream.

use std::sync::Arc;

use strait_postgres::Client;
use strait_postgres::catalog::{SequenceReference, read_sequences};
use strait_proto::v1;
use tokio_postgres::error::SqlState;

use crate::error::{During, RunError};
use crate::mapping::Mapped;
use crate::reporter::Reporter;
use crate::sink::Sink;

/// The sequences of a task, and what the destination was last told about them.
#[derive(Debug)]
pub(crate) struct SequenceSync {
    sequences: Vec<SequenceReference>,
    mapped: Arc<Mapped>,
    told: Vec<v1::SequenceValue>,
}

impl SequenceSync {
    /// The sequences of the model, those of identity columns included.
    pub(crate) fn new(model: &v1::SchemaModel, mapped: Arc<Mapped>) -> Self {
        Self { sequences: SequenceReference::all(model), mapped, told: Vec::new() }
    }

    /// Reads all, and sets those that moved.
    pub(crate) async fn transfer(
        &mut self,
        client: &Client,
        sink: &Sink,
        reporter: &Reporter,
    ) -> Result<(), RunError> {
        const DOING: &str = "read the sequences";
        let values = match read_sequences(client, &self.sequences).await {
            Err(error) if is_gone(&error) => {
                self.forget_dropped(client, reporter).await?;
                read_sequences(client, &self.sequences).await.during(DOING)?
            }
            values => values.during(DOING)?,
        };
        let moved = values.iter().filter(|value| !self.told.contains(value));
        let moved: Vec<v1::SequenceValue> = moved.map(|value| self.at_destination(value)).collect();
        if !moved.is_empty() {
            sink.set_sequences(moved).await?;
            self.told = values;
        }
        Ok(())
    }

    fn at_destination(&self, value: &v1::SequenceValue) -> v1::SequenceValue {
        let sequence = value.sequence.as_ref().map(|name| self.mapped.sequence(name));
        v1::SequenceValue { sequence, ..value.clone() }
    }

    async fn forget_dropped(&mut self, client: &Client, reporter: &Reporter) -> Result<(), RunError> {
        const DOING: &str = "look for the sequences";
        const SQL: &str = "
            SELECT n.nspname, c.relname
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'S'";
        let mut present = std::collections::HashSet::new();
        for row in client.query(SQL, &[]).await.during(DOING)? {
            let part = |index| row.try_get::<_, String>(index).during(DOING);
            present.insert((part(0)?, part(1)?));
        }
        let is_present =
            |it: &SequenceReference| present.contains(&(it.name.schema.clone(), it.name.name.clone()));
        let dropped: Vec<String> =
            self.sequences.iter().filter(|it| !is_present(it)).map(|it| it.name.to_string()).collect();
        self.sequences.retain(is_present);
        if !dropped.is_empty() {
            reporter
                .notice(format!(
                    "dropped or renamed at the source, not followed any more: {}",
                    dropped.join(", ")
                ))
                .await;
        }
        Ok(())
    }
}

fn is_gone(error: &strait_postgres::Error) -> bool {
    let gone = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
    error.sqlstate().is_some_and(|code| gone.contains(code))
}
