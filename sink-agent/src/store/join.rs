//! Tables that join a task: their rows in schema `strait` stand under an id of their own until they are handed over.
//!
//! Theirs is a second position. They can become the task's only where it lies at or past the task's own: then every change of
//! theirs before it is applied, and none past it, and the task's stream, which goes on from its own position, leaves out
//! what lies before their new beginning. Both rows are locked while that is looked at, and the task is held by nobody
//! afterwards: a change stream that does not know the tables could move past their beginning without them.

use prost::Message as _;
use strait_postgres::Client;
use strait_proto::{Lsn, TaskId, v1};
use tokio_postgres::types::{PgLsn, ToSql, Type};

use super::claim::{Claim, INT8, TEXT, draw_nonce, epoch_number};
use super::lanes::lock_out_lanes;
use super::progress::{pg_lsn, progress};
use super::tables::{suspend_table, table_states};
use super::{BEGIN, in_transaction};
use crate::error::{Context as _, Error};

/// How long a hand-over may wait for a transaction that applies changes: the source holds its stream meanwhile.
const LOCK_TIMEOUT_MS: u32 = 2_000;

const POSITION_SQL: &str = "SELECT applied_lsn FROM strait.checkpoint WHERE task_id = $1";

/// The task's own and theirs; none where nothing has begun.
pub(crate) async fn positions(
    client: &Client,
    task_id: &TaskId,
) -> Result<(Option<Lsn>, Option<Lsn>), Error> {
    let mut found = [None, None];
    for (position, id) in found.iter_mut().zip([task_id.clone(), task_id.joining()]) {
        let row = client.query_typed_opt(POSITION_SQL, &[(&id.as_str(), TEXT)]).await;
        let row = row.context("read where the joining tables stand")?;
        *position = row.and_then(|row| row.get::<_, Option<PgLsn>>(0)).map(|position| Lsn(position.into()));
    }
    let [own, joining] = found;
    Ok((own, joining))
}

const TAKE_SQL: &str = "UPDATE strait.checkpoint SET nonce = $4::text::uuid, changed_at = now()
 WHERE task_id = $1 AND epoch = $2 AND nonce = $3::text::uuid
RETURNING applied_lsn";

const LOCK_SQL: &str = "SELECT applied_lsn FROM strait.checkpoint WHERE task_id = $1 FOR UPDATE";

const IN_PART_SQL: &str = "SELECT EXISTS (SELECT FROM strait.lane WHERE task_id = $1)";

/// Makes the joining tables the task's, in one transaction. False, and nothing is changed, where they are not that far or the
/// task is busy. After true the claim is void.
pub(crate) async fn hand_over(client: &Client, claim: &Claim) -> Result<bool, Error> {
    let begin =
        format!("{BEGIN}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; SET LOCAL synchronous_commit = on");
    let handed = in_transaction(client, &begin, async {
        match take(client, claim).await? {
            Some(joining_lsn) => adopt(client, &claim.task_id, joining_lsn).await,
            // Rolls back, so that the claim stays good.
            None => Err(Error::NotNow("the joining tables are not at the task's position".to_owned())),
        }
    })
    .await;
    match handed {
        Ok(()) => Ok(true),
        Err(Error::NotNow(_)) => Ok(false),
        Err(error) if error.sqlstate() == Some("55P03") => Ok(false),
        Err(error) => Err(error),
    }
}

/// Within a transaction: takes the task away from whoever holds it, and says where it stands.
async fn take_task(client: &Client, claim: &Claim) -> Result<Option<PgLsn>, Error> {
    const DOING: &str = "hold the task for tables that join";
    lock_out_lanes(client, &claim.task_id).await?;
    let (epoch, drawn) = (epoch_number(claim.epoch)?, draw_nonce());
    let task = claim.task_id.as_str();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] =
        [(&task, TEXT), (&epoch, INT8), (&claim.nonce, TEXT), (&drawn, TEXT)];
    let own = client.query_typed_opt(TAKE_SQL, &parameters).await.context(DOING)?;
    Ok(own.ok_or(Error::Replaced)?.get(0))
}

/// Within a transaction: takes the task. Their position where the tables may join at it.
async fn take(client: &Client, claim: &Claim) -> Result<Option<Lsn>, Error> {
    const DOING: &str = "hold the tables that join";
    let own_lsn = take_task(client, claim).await?;
    let joining_id = claim.task_id.joining();
    lock_out_lanes(client, &joining_id).await?;
    let joining = client.query_typed_opt(LOCK_SQL, &[(&joining_id.as_str(), TEXT)]).await.context(DOING)?;
    let joining_lsn = joining.and_then(|row| row.get::<_, Option<PgLsn>>(0));
    let in_part =
        client.query_typed_one(IN_PART_SQL, &[(&joining_id.as_str(), TEXT)]).await.context(DOING)?;
    let states = table_states(client, &joining_id).await?;
    let (Some(own_lsn), Some(joining_lsn)) = (own_lsn, joining_lsn) else {
        return Ok(None);
    };
    let may_join = are_ready(&states) && joining_lsn >= own_lsn && !in_part.get::<_, bool>(0);
    Ok(may_join.then(|| Lsn(joining_lsn.into())))
}

/// Whether all are copied, with keys and indexes, or suspended since.
pub(crate) fn are_ready(states: &[v1::TableState]) -> bool {
    let is_ready =
        |state: &v1::TableState| matches!(state.phase(), v1::CopyPhase::Ready | v1::CopyPhase::Suspended);
    !states.is_empty() && states.iter().all(is_ready)
}

/// What the task knows of the same table goes first, and of one of the same name, which the destination does not have any more.
const MAKE_ROOM: [&str; 2] = [
    "DELETE FROM strait.table_state AS s USING strait.table_state AS j
      WHERE s.task_id = $1 AND j.task_id = $2
        AND (j.table_id = s.table_id
             OR NOT s.shared AND (j.schema_name, j.table_name) = (s.schema_name, s.table_name))",
    "DELETE FROM strait.chunk AS c USING strait.table_state AS j
      WHERE c.task_id = $1 AND j.task_id = $2 AND j.table_id = c.table_id",
];

const ADOPT: [&str; 2] = [
    "UPDATE strait.chunk SET task_id = $1 WHERE task_id = $2",
    "UPDATE strait.conflict SET task_id = $1 WHERE task_id = $2",
];

const ADOPT_STATES_SQL: &str = "UPDATE strait.table_state
   SET task_id = $1, begin_lsn = $3, changed_at = now() WHERE task_id = $2";

const ADOPT_OBJECTS: [&str; 2] = [
    "DELETE FROM strait.object AS j USING strait.object AS o
      WHERE j.task_id = $2 AND o.task_id = $1
        AND (o.kind, o.schema_name, o.object_name) = (j.kind, j.schema_name, j.object_name)",
    "UPDATE strait.object SET task_id = $1 WHERE task_id = $2",
];

const SET_MODEL_SQL: &str = "UPDATE strait.task SET model = $2 WHERE task_id = $1";

async fn adopt(client: &Client, task_id: &TaskId, joining_lsn: Lsn) -> Result<(), Error> {
    const DOING: &str = "make joining tables the task's";
    let joining_id = task_id.joining();
    let model = progress(client, task_id).await?.model.unwrap_or_default();
    let joining = progress(client, &joining_id).await?;
    let joined: Vec<u32> = joining.tables.iter().map(|state| state.table_id).collect();
    let model = merged(model, joining.model.unwrap_or_default(), &joined).encode_to_vec();
    let (task, theirs) = (task_id.as_str(), joining_id.as_str());
    let ids: [(&(dyn ToSql + Sync), Type); 2] = [(&task, TEXT), (&theirs, TEXT)];
    for sql in MAKE_ROOM.into_iter().chain(ADOPT).chain(ADOPT_OBJECTS) {
        client.execute_typed(sql, &ids).await.context(DOING)?;
    }
    let begin_lsn = pg_lsn(joining_lsn);
    let states: [(&(dyn ToSql + Sync), Type); 3] =
        [(&task, TEXT), (&theirs, TEXT), (&begin_lsn, Type::PG_LSN)];
    client.execute_typed(ADOPT_STATES_SQL, &states).await.context(DOING)?;
    client.execute_typed(SET_MODEL_SQL, &[(&task, TEXT), (&model, Type::BYTEA)]).await.context(DOING)?;
    forget(client, &joining_id).await
}

/// The task's model with the tables that joined, and what came along that it did not have.
fn merged(mut model: v1::SchemaModel, joining: v1::SchemaModel, joined: &[u32]) -> v1::SchemaModel {
    model.tables.retain(|table| !joined.contains(&table.table_id));
    model.tables.extend(joining.tables.into_iter().filter(|table| joined.contains(&table.table_id)));
    for schema in joining.schemas {
        if !model.schemas.contains(&schema) {
            model.schemas.push(schema);
        }
    }
    for user_type in joining.types {
        if !model.types.iter().any(|it| (&it.schema, &it.name) == (&user_type.schema, &user_type.name)) {
            model.types.push(user_type);
        }
    }
    for sequence in joining.sequences {
        if !model.sequences.iter().any(|it| (&it.schema, &it.name) == (&sequence.schema, &sequence.name)) {
            model.sequences.push(sequence);
        }
    }
    for object in joining.objects {
        let is_it = |it: &v1::SchemaObject| {
            (&it.object_kind, &it.schema, &it.name, it.placeholder)
                == (&object.object_kind, &object.schema, &object.name, object.placeholder)
        };
        if !model.objects.iter().any(is_it) {
            model.objects.push(object);
        }
    }
    for comment in joining.comments {
        if !model.comments.contains(&comment) {
            model.comments.push(comment);
        }
    }
    model
}

/// Forgets where the joining tables stand; what was created for them counts as the task's own from here on.
pub(crate) async fn abandon(client: &Client, claim: &Claim) -> Result<(), Error> {
    let (task_id, joining_id) = (&claim.task_id, claim.task_id.joining());
    in_transaction(client, &claim.begin_sql(), async {
        lock_out_lanes(client, &joining_id).await?;
        for sql in ADOPT_OBJECTS {
            let ids: [(&(dyn ToSql + Sync), Type); 2] =
                [(&task_id.as_str(), TEXT), (&joining_id.as_str(), TEXT)];
            client.execute_typed(sql, &ids).await.context("give up tables that join")?;
        }
        forget(client, &joining_id).await
    })
    .await
}

/// What lanes have applied of a table does not count any more: it begins over.
const FORGET_LANES_SQL: &str = "DELETE FROM strait.lane WHERE task_id = $1 AND table_id = ANY ($2)";

/// Suspends tables of the task from its position on. The claim is void afterwards.
pub(crate) async fn suspend(
    client: &Client,
    claim: &Claim,
    table_ids: &[u32],
    reason: &str,
) -> Result<(), Error> {
    in_transaction(client, BEGIN, async {
        take_task(client, claim).await?;
        let tables: Vec<i64> = table_ids.iter().copied().map(i64::from).collect();
        let task = claim.task_id.as_str();
        let lines: [(&(dyn ToSql + Sync), Type); 2] = [(&task, TEXT), (&tables, Type::INT8_ARRAY)];
        client.execute_typed(FORGET_LANES_SQL, &lines).await.context("suspend tables")?;
        for table_id in table_ids {
            suspend_table(client, &claim.task_id, *table_id, reason, "").await?;
        }
        Ok(())
    })
    .await
}

async fn forget(client: &Client, joining_id: &TaskId) -> Result<(), Error> {
    super::release::forget_rows(client, joining_id).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_grows_by_what_joined_and_nothing_else() {
        let table = |table_id, name: &str| v1::Table { table_id, name: name.into(), ..Default::default() };
        let own = v1::SchemaModel {
            schemas: vec!["a".into()],
            tables: vec![table(1, "parent"), table(2, "again")],
            ..Default::default()
        };
        let joining = v1::SchemaModel {
            schemas: vec!["a".into(), "b".into()],
            tables: vec![table(1, "renamed"), table(2, "anew"), table(3, "new")],
            ..Default::default()
        };
        let model = merged(own, joining, &[2, 3]);
        let names: Vec<_> = model.tables.iter().map(|table| &*table.name).collect();
        assert_eq!(names, ["parent", "anew", "new"]);
        assert_eq!(model.schemas, ["a", "b"]);
    }

    #[test]
    fn tables_join_together_or_not_at_all() {
        let state = |phase: v1::CopyPhase| v1::TableState { phase: phase.into(), ..Default::default() };
        let (ready, copied) = (state(v1::CopyPhase::Ready), state(v1::CopyPhase::Copied));
        assert!(are_ready(&[ready.clone(), state(v1::CopyPhase::Suspended)]));
        assert!(!are_ready(&[ready, copied]));
        assert!(!are_ready(&[]), "nothing joins where nothing has begun");
    }
}
