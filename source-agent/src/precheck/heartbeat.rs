//! Whether the role may use the heartbeat's table, at a source that does not stream logical messages.

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::PrecheckItem;

use super::{failed, passed};

/// Where nothing stands yet, the right to create the publication is the right to create this, too.
pub(super) async fn check(client: &Client) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.heartbeat_table";
    const CAUSE: &str = "a row is written there every few seconds, for latency and so that an idle database holds no log back";
    const SQL: &str = "
        SELECT current_user::text AS role, pg_get_userbyid(c.relowner)::text AS owner,
               coalesce(pg_has_role(c.relowner, 'USAGE'), false) AS owned,
               coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'), false) AS may_create
        FROM pg_namespace AS n
        LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'heartbeat'
        WHERE n.nspname = 'strait'";
    let Some(row) = client.query_opt(SQL, &[]).await? else {
        return Ok(passed(NAME, "schema strait will be created, with one small table"));
    };
    let role = quote::identifier(&row.try_get::<_, String>("role")?);
    match row.try_get::<_, Option<String>>("owner")? {
        Some(_) if row.try_get("owned")? => Ok(passed(NAME, "table strait.heartbeat stands")),
        Some(owner) => {
            let remedy = format!("GRANT {} TO {role};", quote::identifier(&owner));
            Ok(failed(NAME, format!("table strait.heartbeat belongs to {owner}"), CAUSE, remedy))
        }
        None if row.try_get("may_create")? => {
            Ok(passed(NAME, "one small table will be created in schema strait"))
        }
        None => {
            let remedy = format!("GRANT USAGE, CREATE ON SCHEMA strait TO {role};");
            Ok(failed(
                NAME,
                "schema strait stands, and this role may not create a table in it",
                CAUSE,
                remedy,
            ))
        }
    }
}
