//! The selected objects: whether there are any, and whether this role may read and publish them.

use std::collections::{BTreeMap, BTreeSet};

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, PrecheckItem};
use tokio_postgres::Row;

use super::item::{list, statements, warning};
use super::{failed, passed};
use crate::capture::identity::{self, Lacking};
use crate::capture::publication::published;
use crate::choices::Parts;
use crate::rows::RowRules;

/// What the role may do with each table and leaf.
const RIGHTS: &str = "
    SELECT c.oid, n.nspname, c.relname, current_user::text AS role,
           has_schema_privilege(n.oid, 'USAGE') AS usage,
           has_table_privilege(c.oid, 'SELECT') AS readable,
           pg_has_role(c.relowner, 'USAGE') AS owned,
           row_security_active(c.oid) AS hides_rows
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ($1::oid[])
    ORDER BY n.nspname, c.relname";

pub(super) async fn check(
    client: &Client,
    selection: &v1::ObjectSelection,
    rules: &RowRules,
    model: &v1::SchemaModel,
    parts: Parts,
) -> Result<Vec<PrecheckItem>, Error> {
    let tables: Vec<u32> = model.tables.iter().map(|table| table.table_id).collect();
    let leaves = model.tables.iter().flat_map(|table| &table.leaves).map(|leaf| leaf.relation_id);
    let relations: Vec<u32> = tables.iter().copied().chain(leaves).collect();
    let rights = client.query(RIGHTS, &[&relations]).await?;
    let rights: Vec<Rights> = rights.iter().map(Rights::from_row).collect::<Result<_, _>>()?;
    let mut items = vec![selected(client, selection, model).await?, unsupported(model), parents(model)];
    if parts.full || parts.incremental {
        items.push(readable(client, model, &rights).await?);
    }
    if parts.incremental {
        let tables: Vec<u32> = published(model).map(|table| table.table_id).collect();
        items.push(publishable(client, &tables, &rights).await?);
        items.push(identities(client, &tables, rules).await?);
    }
    Ok(items)
}

struct Rights {
    oid: u32,
    schema: String,
    name: String,
    role: String,
    usage: bool,
    readable: bool,
    owned: bool,
    hides_rows: bool,
}

impl Rights {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            oid: row.try_get("oid")?,
            schema: row.try_get("nspname")?,
            name: row.try_get("relname")?,
            role: row.try_get("role")?,
            usage: row.try_get("usage")?,
            readable: row.try_get("readable")?,
            owned: row.try_get("owned")?,
            hides_rows: row.try_get("hides_rows")?,
        })
    }

    fn sql(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }
}

/// Patterns that match nothing are most often misspelt.
async fn selected(
    client: &Client,
    selection: &v1::ObjectSelection,
    model: &v1::SchemaModel,
) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.selection";
    const SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname LIKE $1 AND $2 = '%')";
    const TABLE: &str = "
        SELECT EXISTS (
            SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.nspname LIKE $1 AND c.relname LIKE $2)";
    let mut unmatched = Vec::new();
    for pattern in &selection.include {
        let whole_schema = pattern.table.is_empty();
        let table = if whole_schema { "%".to_owned() } else { like(&pattern.table) };
        let sql = if whole_schema { SCHEMA } else { TABLE };
        let found: bool = client.query_one(sql, &[&like(&pattern.schema), &table]).await?.try_get(0)?;
        if !found {
            unmatched.push(if whole_schema {
                format!("schema {}", pattern.schema)
            } else {
                format!("table {}.{}", pattern.schema, pattern.table)
            });
        }
    }
    let detail = format!("{} tables", model.tables.len());
    let remedy =
        "Correct `objects` of the task. Names are exact, case included; * stands for any characters.";
    Ok(if !unmatched.is_empty() {
        failed(NAME, detail, format!("nothing matches: {}", list(unmatched)), remedy)
    } else if model.tables.is_empty() {
        failed(NAME, detail, "the selection covers no table that can be synchronised", remedy)
    } else {
        passed(NAME, detail)
    })
}

fn unsupported(model: &v1::SchemaModel) -> PrecheckItem {
    const NAME: &str = "source.unsupported_objects";
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    // Who owns what is a rule for all objects, not one that is left out.
    for object in model.skipped.iter().filter(|object| object.object_kind != "owner") {
        *counts.entry(&object.object_kind).or_default() += 1;
    }
    if counts.is_empty() {
        return passed(NAME, "none");
    }
    let detail = list(counts.iter().map(|(kind, count)| format!("{kind}: {count}")));
    warning(
        NAME,
        detail,
        "these are left out, or carried over in part; each is listed with its reason once the task has started",
        "Create what you need of them at the destination by hand.",
    )
}

/// A foreign key needs both of its tables: the model leaves those out whose parent it does not have, and says so.
fn parents(model: &v1::SchemaModel) -> PrecheckItem {
    const NAME: &str = "source.foreign_key_parents";
    let constraints = model.tables.iter().flat_map(|table| &table.constraints);
    let keys = constraints.filter(|it| it.kind() == v1::ConstraintKind::ForeignKey).count();
    let left_out = model.skipped.iter().filter(|it| it.object_kind == "constraint");
    let orphans = left_out.filter(|it| it.detail.starts_with("it refers to "));
    let orphans: Vec<String> =
        orphans.map(|it| format!("{}.{}: {}", it.schema, it.name, it.detail)).collect();
    if orphans.is_empty() {
        return passed(NAME, format!("the tables that {keys} foreign keys refer to are all selected"));
    }
    warning(
        NAME,
        list(orphans),
        "foreign keys that refer to tables which the task does not have are left out",
        "Select the tables that they refer to as well, or do without these keys.",
    )
}

async fn readable(
    client: &Client,
    model: &v1::SchemaModel,
    rights: &[Rights],
) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.read_privilege";
    let sequences = unreadable_sequences(client, model).await?;
    let unreadable: Vec<&Rights> = rights.iter().filter(|it| !it.readable || !it.usage).collect();
    let hidden: Vec<&Rights> = rights.iter().filter(|it| it.readable && it.usage && it.hides_rows).collect();
    let Some(role) = rights.first().map(|it| quote::identifier(&it.role)) else {
        return Ok(passed(NAME, "no table"));
    };
    if unreadable.is_empty() && hidden.is_empty() && sequences.is_empty() {
        return Ok(passed(NAME, format!("all {} tables and partitions", rights.len())));
    }
    let mut causes = Vec::new();
    let mut remedy = Vec::new();
    let no_usage = unreadable.iter().filter(|it| !it.usage).map(|it| quote::identifier(&it.schema));
    let schemas: BTreeSet<String> = no_usage.collect();
    remedy.extend(schemas.iter().map(|schema| format!("GRANT USAGE ON SCHEMA {schema} TO {role};")));
    if !unreadable.is_empty() {
        let names = unreadable.iter().map(|it| format!("{}.{}", it.schema, it.name));
        causes.push(format!("may not read {}", list(names)));
        let lacking = unreadable.iter().filter(|it| !it.readable);
        remedy.extend(lacking.map(|it| format!("GRANT SELECT ON TABLE {} TO {role};", it.sql())));
    }
    if !sequences.is_empty() {
        causes.push(format!("may not read the sequences {}", list(&sequences)));
        remedy.extend(sequences.iter().map(|name| format!("GRANT SELECT ON SEQUENCE {name} TO {role};")));
    }
    if !hidden.is_empty() {
        let names = hidden.iter().map(|it| format!("{}.{}", it.schema, it.name));
        causes.push(format!("row-level security hides rows of {}", list(names)));
        remedy.push(format!("ALTER ROLE {role} BYPASSRLS;"));
    }
    let detail = format!("{} of {} tables and partitions", rights.len() - unreadable.len(), rights.len());
    Ok(failed(NAME, detail, format!("role {role} {}", causes.join("; ")), statements(remedy)))
}

/// Qualified and quoted.
async fn unreadable_sequences(client: &Client, model: &v1::SchemaModel) -> Result<Vec<String>, Error> {
    const SQL: &str = "
        SELECT name FROM unnest($1::text[]) AS name
        WHERE NOT coalesce(has_sequence_privilege(to_regclass(name)::oid, 'SELECT'), true)";
    let plain = model.sequences.iter().map(|it| quote::qualified(&it.schema, &it.name));
    let columns = model.tables.iter().flat_map(|table| &table.columns);
    let identity = columns.filter_map(|column| column.identity.as_ref());
    let identity = identity.map(|it| quote::qualified(&it.sequence_schema, &it.sequence_name));
    let names: Vec<String> = plain.chain(identity).collect();
    let rows = client.query(SQL, &[&names]).await?;
    Ok(rows.iter().map(|row| row.try_get("name")).collect::<Result<_, _>>()?)
}

async fn publishable(client: &Client, tables: &[u32], rights: &[Rights]) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.publication_privilege";
    const SQL: &str = "
        SELECT has_database_privilege(current_database(), 'CREATE') AS may_create,
               current_database()::text AS database, current_user::text AS role";
    let row = client.query_one(SQL, &[]).await?;
    let (database, role): (String, String) = (row.try_get("database")?, row.try_get("role")?);
    let role = quote::identifier(&role);
    let foreign: Vec<&Rights> = rights.iter().filter(|it| !it.owned && tables.contains(&it.oid)).collect();
    let mut causes = Vec::new();
    let mut remedy = Vec::new();
    if !row.try_get::<_, bool>("may_create")? {
        causes.push(format!("may not create a publication in database {database}"));
        remedy.push(format!("GRANT CREATE ON DATABASE {} TO {role};", quote::identifier(&database)));
    }
    if !foreign.is_empty() {
        let names = foreign.iter().map(|it| format!("{}.{}", it.schema, it.name));
        causes.push(format!(
            "does not own {}, which PostgreSQL requires of whoever publishes them",
            list(names)
        ));
        remedy.push(format!("GRANT the role that owns them TO {role}, or for each:"));
        remedy.extend(foreign.iter().map(|it| format!("ALTER TABLE {} OWNER TO {role};", it.sql())));
    }
    if causes.is_empty() {
        return Ok(passed(
            NAME,
            format!("role {role} may create the publication and owns all {} tables", tables.len()),
        ));
    }
    let detail = format!("{} of {} tables", tables.len() - foreign.len(), tables.len());
    Ok(failed(NAME, detail, format!("role {role} {}", causes.join("; ")), statements(remedy)))
}

async fn identities(client: &Client, tables: &[u32], rules: &RowRules) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.replica_identity";
    let lacking = identity::lacking(client, tables, rules).await?;
    if lacking.is_empty() {
        return Ok(passed(NAME, "the rows of every table can be identified"));
    }
    let unhelped: Vec<_> = lacking.iter().filter(|table| table.needs_key && table.for_filter).collect();
    if !unhelped.is_empty() {
        return Ok(failed(
            NAME,
            format!(
                "with `where` or `transform`: {}",
                list(unhelped.iter().map(|table| table.relation.name.to_string()))
            ),
            "`where` and `transform` have to see the old row of an update, which takes REPLICA IDENTITY FULL, and with \
             virtual generated columns PostgreSQL would refuse UPDATE and DELETE then",
            "Leave them out, or the tables.",
        ));
    }
    let keyless: Vec<_> = lacking.iter().filter(|table| table.needs_key).collect();
    if !keyless.is_empty() {
        let keys =
            keyless.iter().map(|table| format!("ALTER TABLE {} ADD PRIMARY KEY (…);", table.relation.sql()));
        return Ok(failed(
            NAME,
            format!("without a key: {}", list(keyless.iter().map(|table| table.relation.name.to_string()))),
            "they have virtual generated columns, with which REPLICA IDENTITY FULL does not serve either: PostgreSQL would \
             refuse UPDATE and DELETE once they are published",
            statements(keys),
        ));
    }
    let names = list(lacking.iter().map(|table| table.relation.name.to_string()));
    let detail = format!("REPLICA IDENTITY will be set to FULL on: {names}");
    let (filtered, keyless): (Vec<&Lacking>, Vec<&Lacking>) =
        lacking.iter().partition(|table| table.for_filter);
    let mut causes = Vec::new();
    if !keyless.is_empty() {
        causes.push("no key identifies their rows, and PostgreSQL would refuse UPDATE and DELETE once they are published");
    }
    if !filtered.is_empty() {
        causes.push("`where` or `transform` has to see the old row of an update");
    }
    let cause = format!("{}; FULL writes more log. Release restores what was", causes.join("; or "));
    let keys =
        keyless.iter().map(|table| format!("ALTER TABLE {} ADD PRIMARY KEY (…);", table.relation.sql()));
    let foreign: Vec<_> = lacking.iter().filter(|table| !table.owned).collect();
    if foreign.is_empty() {
        let keys = statements(keys);
        let remedy =
            if keys.is_empty() { "Nothing.".to_owned() } else { format!("Nothing, or add keys:\n{keys}") };
        return Ok(warning(NAME, detail, cause, remedy));
    }
    let names = list(foreign.iter().map(|table| table.relation.name.to_string()));
    let full = foreign
        .iter()
        .map(|table| format!("ALTER TABLE ONLY {} REPLICA IDENTITY FULL;", table.relation.sql()));
    Ok(failed(
        NAME,
        detail,
        format!("{cause}. This role does not own {names}, so it cannot do that"),
        format!("As their owner:\n{}", statements(full)),
    ))
}

/// A pattern with `*` as one for LIKE.
fn like(pattern: &str) -> String {
    let mut like = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        match character {
            '*' => like.push('%'),
            '%' | '_' | '\\' => like.extend(['\\', character]),
            other => like.push(other),
        }
    }
    like
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_star_is_a_wildcard() {
        for (pattern, expected) in [("tmp_*", r"tmp\_%"), ("50%", r"50\%"), (r"a\b", r"a\\b"), ("*", "%")] {
            assert_eq!(like(pattern), expected);
        }
    }

    #[test]
    fn what_is_left_out_is_counted_by_kind() {
        let object = |kind: &str| v1::ObjectResult { object_kind: kind.into(), ..Default::default() };
        let model = v1::SchemaModel {
            skipped: vec![object("view"), object("owner"), object("trigger"), object("view")],
            ..Default::default()
        };
        assert_eq!(unsupported(&model).detail, "trigger: 1, view: 2");
        assert_eq!(unsupported(&v1::SchemaModel::default()).outcome(), v1::PrecheckOutcome::Passed);
    }
}
