//! The alerts that hold, and the notices that have not arrived yet.

use prost::Message as _;
use rusqlite::params;
use strait_proto::v1::Alert;

use super::tasks::message;
use super::{Store, StoreError, from_sql, to_sql};

/// How many notices may wait; the oldest go first.
const NOTICES_MAX: u32 = 10_000;

/// What one webhook is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// Rises; 0 before it is stored.
    pub(crate) id: u64,
    /// The webhook; empty: the coordinator's own.
    pub(crate) target: String,
    pub(crate) alert: Alert,
    /// The task's name and tag when it was told.
    pub(crate) name: String,
    pub(crate) environment: String,
}

impl Store {
    /// Every alert that holds.
    pub(crate) async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        self.call("read the alerts", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT alert FROM alert ORDER BY task_id, kind")?;
            statement.query_map([], |row| message(0, row.get(0)?))?.collect()
        })
        .await
    }

    /// Stores alerts that begin and that end, with what is to be told of them.
    pub(crate) async fn tell(
        &self,
        began: Vec<Alert>,
        ended: Vec<Alert>,
        notices: Vec<Notice>,
    ) -> Result<(), StoreError> {
        self.call("save alerts", move |connection| {
            let transaction = connection.transaction()?;
            for alert in &began {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO alert (task_id, kind, alert) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![alert.task_id, alert.kind, alert.encode_to_vec()])?;
            }
            for alert in &ended {
                transaction
                    .prepare_cached("DELETE FROM alert WHERE task_id = ?1 AND kind = ?2")?
                    .execute(params![alert.task_id, alert.kind])?;
            }
            for Notice { target, alert, name, environment, .. } in &notices {
                transaction
                    .prepare_cached(
                        "INSERT INTO notice (target, alert, name, environment) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![target, alert.encode_to_vec(), name, environment])?;
            }
            transaction
                .prepare_cached(
                    "DELETE FROM notice WHERE notice_id <=
                     (SELECT notice_id FROM notice ORDER BY notice_id DESC LIMIT 1 OFFSET ?1)",
                )?
                .execute(params![NOTICES_MAX])?;
            transaction.commit()
        })
        .await
    }

    /// The webhooks that something waits for.
    pub(crate) async fn notice_targets(&self) -> Result<Vec<String>, StoreError> {
        self.call("look for notices", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT DISTINCT target FROM notice ORDER BY target")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
        .await
    }

    /// The oldest notices of a webhook.
    pub(crate) async fn notices(&self, target: &str, limit: u32) -> Result<Vec<Notice>, StoreError> {
        let target = target.to_owned();
        self.call("read notices", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT notice_id, alert, name, environment FROM notice WHERE target = ?1 ORDER BY notice_id LIMIT ?2",
            )?;
            let notices = statement.query_map(params![target, limit], |row| {
                Ok(Notice {
                    id: from_sql(row.get(0)?),
                    target: target.clone(),
                    alert: message(1, row.get(1)?)?,
                    name: row.get(2)?,
                    environment: row.get(3)?,
                })
            })?;
            notices.collect()
        })
        .await
    }

    /// They have arrived, or are given up.
    pub(crate) async fn delete_notices(&self, ids: Vec<u64>) -> Result<(), StoreError> {
        self.call("delete notices", move |connection| {
            let transaction = connection.transaction()?;
            for id in ids {
                transaction
                    .prepare_cached("DELETE FROM notice WHERE notice_id = ?1")?
                    .execute(params![to_sql(id)])?;
            }
            transaction.commit()
        })
        .await
    }
}
