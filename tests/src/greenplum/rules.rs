//! What the family takes and refuses, statement by statement, as far as plain PostgreSQL does otherwise.

use std::sync::PoisonError;

use tokio_postgres::Client;

use super::Refusals;
use super::statements::{created_table, name, names, split, without_comments};

/// How a table of the stand-in is distributed and stored.
#[derive(Debug, Default)]
struct Facts {
    distributed_by: Vec<String>,
    append_optimised: bool,
    has_update_triggers: bool,
}

/// Why a statement is refused, with the family's own SQLSTATE.
struct Refusal {
    code: &'static str,
    reason: &'static str,
}

/// Looks tables up by a session of its own.
#[derive(Debug)]
pub(super) struct Rules {
    catalog: Client,
    refusals: Refusals,
}

const FACTS_SQL: &str = "SELECT ARRAY(SELECT a.attname::text FROM unnest(p.distkey::smallint[]) AS k (attnum)
                     JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum),
       m.amname IN ('ao_row', 'ao_column'),
       EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 16 <> 0)
  FROM pg_class AS c
       JOIN pg_am AS m ON m.oid = c.relam
       JOIN pg_catalog.gp_distribution_policy AS p ON p.localoid = c.oid
 WHERE c.oid = to_regclass($1)";

impl Rules {
    pub(super) fn new(catalog: Client, refusals: Refusals) -> Self {
        Self { catalog, refusals }
    }

    /// A text of statements as plain PostgreSQL takes it.
    pub(super) async fn simple(&self, sql: &str) -> String {
        let mut passed = Vec::new();
        for statement in split(sql) {
            match self.judge(statement).await {
                Ok(statement) => passed.push(statement),
                Err(Refusal { code, reason }) => {
                    passed.push(format!(
                        "DO $refused$ BEGIN RAISE '{reason}' USING ERRCODE = '{code}'; END $refused$"
                    ));
                }
            }
        }
        passed.join(";\n")
    }

    /// The same of one that is prepared. Where it is refused the server says so in its own way, with the reason as a name.
    pub(super) async fn prepared(&self, sql: &str) -> String {
        match self.judge(sql).await {
            Ok(statement) => statement,
            Err(Refusal { code, reason }) => format!("SELECT \"{code}: {reason}\"()"),
        }
    }

    async fn judge(&self, statement: &str) -> Result<String, Refusal> {
        let judged = self.rule(without_comments(statement)).await;
        if let Err(Refusal { code, reason }) = &judged {
            let refusal = format!("{code} {reason}: {statement}");
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
        }
        judged
    }

    async fn rule(&self, statement: &str) -> Result<String, Refusal> {
        let refuse = |code, reason| Err(Refusal { code, reason });
        if let Some(table) = created_table(statement) {
            return distributed(statement, table);
        }
        let first = statement.split_whitespace().next().unwrap_or_default();
        match first {
            "MERGE" => return refuse("0A000", "MERGE is not supported"),
            "PREPARE" if statement.starts_with("PREPARE TRANSACTION") => {
                return refuse("0A000", "PREPARE TRANSACTION is not supported");
            }
            // It holds for the coordinator, and is gone on the segments once they were idle.
            "SET" if statement.starts_with("SET session_replication_role") => {
                return Ok("SET gp_standin.lost = 'session_replication_role'".to_owned());
            }
            "WITH" if statement.contains(" RETURNING ") && statement.contains("INSERT INTO") => {
                return refuse("0A000", "writable CTE queries cannot be themselves writable");
            }
            _ => {}
        }
        if statement.contains("pg_export_snapshot") || statement.starts_with("SET TRANSACTION SNAPSHOT") {
            return refuse("0A000", "an exported snapshot means nothing on the segments");
        }
        if statement.contains("currval(") {
            return refuse("0A000", "currval() is not supported");
        }
        if statement.contains(".ctid") && !statement.contains(".gp_segment_id") {
            return refuse("XX000", "a ctid means nothing without its segment");
        }
        if let Some(rest) = statement.strip_prefix("INSERT INTO ")
            && let Some((_, action)) = statement.rsplit_once(" ON CONFLICT")
            && let Some(facts) = self.facts(name(rest)).await
        {
            if facts.append_optimised {
                return refuse("0A000", "INSERT ON CONFLICT is not supported for appendoptimized relations");
            }
            if action.split_once(" DO UPDATE SET ").is_some_and(|(_, set)| facts.sets_key(set)) {
                return refuse(
                    "0A000",
                    "modification of distribution columns in OnConflictUpdate is not supported",
                );
            }
        }
        if let Some(rest) = statement.strip_prefix("UPDATE ")
            && let Some((_, set)) = statement.split_once(" SET ")
            && let Some(facts) = self.facts(name(rest.strip_prefix("ONLY ").unwrap_or(rest))).await
            && facts.has_update_triggers
            && facts.sets_key(set)
        {
            return refuse(
                "0AM01",
                "UPDATE on distributed key column not allowed on relation with update triggers",
            );
        }
        // All rows of the stand-in are on one segment.
        Ok(statement.replace(".gp_segment_id", ".tableoid"))
    }

    /// None of a table that is not known, or not yet.
    async fn facts(&self, table: &str) -> Option<Facts> {
        let row = self.catalog.query_opt(FACTS_SQL, &[&table]).await.ok()??;
        Some(Facts {
            distributed_by: row.get(0),
            append_optimised: row.get(1),
            has_update_triggers: row.get(2),
        })
    }
}

impl Facts {
    /// Whether a list of assignments sets a column of the distribution key.
    fn sets_key(&self, assignments: &str) -> bool {
        let sets = |column: &String| {
            let assignment = [format!("\"{column}\" = "), format!("{column} = ")];
            assignments.split(", ").any(|item| assignment.iter().any(|start| item.starts_with(start)))
        };
        self.distributed_by.iter().any(sets)
    }
}

/// CREATE TABLE without its clause, and the clause as the stand-in keeps it. The family takes a table without one, but chooses
/// its first column then: Strait never leaves that to it.
fn distributed(statement: &str, table: &str) -> Result<String, Refusal> {
    let Some((create, clause)) = statement.rsplit_once("DISTRIBUTED ") else {
        return Err(Refusal {
            code: "42P16",
            reason: "a table without DISTRIBUTED: its first column would be taken",
        });
    };
    let (policy, columns) = match clause.trim() {
        "REPLICATED" => ("r", Vec::new()),
        "RANDOMLY" => ("p", Vec::new()),
        by => ("p", names(by.trim_start_matches("BY (").trim_end_matches(')'))),
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    Ok(format!(
        "{create}; SELECT gp_standin.distribute({}, '{policy}', ARRAY[{}]::text[])",
        quoted(table),
        columns.join(", ")
    ))
}
