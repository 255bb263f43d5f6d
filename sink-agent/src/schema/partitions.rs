//! How partitions hang together: tables are attached to their parents, and their indexes to those of their parents.
//!
//! Whatever is attached already is left as it is, so that all of it can be done again.

use std::collections::{HashMap, HashSet};

use strait_postgres::{Client, Error, quote};
use strait_proto::v1::{self, PartitionOf, TableName};
use tokio_postgres::types::{ToSql, Type};

use super::ddl::tables;
use super::execute::{Executor, Object};

/// $1, $2: schemas and names. Of those that are tables, what each is a partition of.
const PLACES_SQL: &str = "
SELECT n.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, pg_get_expr(c.relpartbound, c.oid)
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
     JOIN pg_namespace AS n
       ON n.nspname = wanted.schema
     JOIN pg_class AS c
       ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
     LEFT JOIN pg_inherits AS i
            ON i.inhrelid = c.oid AND c.relispartition
     LEFT JOIN pg_class AS p
            ON p.oid = i.inhparent
     LEFT JOIN pg_namespace AS pn
            ON pn.oid = p.relnamespace";

/// $1 to $4: schema and name of indexes of partitions, schema and name of those of their parents. The pairs that both stand,
/// of tables that are attached, and are not attached themselves.
const UNATTACHED_SQL: &str = "
SELECT wanted.place
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
     WITH ORDINALITY AS wanted (schema, name, parent_schema, parent_name, place)
     JOIN pg_namespace AS n
       ON n.nspname = wanted.schema
     JOIN pg_class AS c
       ON c.relnamespace = n.oid AND c.relname = wanted.name AND NOT c.relispartition
     JOIN pg_index AS i
       ON i.indexrelid = c.oid
     JOIN pg_namespace AS pn
       ON pn.nspname = wanted.parent_schema
     JOIN pg_class AS p
       ON p.relnamespace = pn.oid AND p.relname = wanted.parent_name
     JOIN pg_index AS pi
       ON pi.indexrelid = p.oid
     JOIN pg_inherits AS t
       ON t.inhrelid = i.indrelid AND t.inhparent = pi.indrelid";

/// The tables of these names, and what each is a partition of.
pub(crate) async fn places(
    client: &Client,
    names: &[TableName],
) -> Result<HashMap<TableName, Option<PartitionOf>>, Error> {
    let schemas: Vec<&str> = names.iter().map(|it| &*it.schema).collect();
    let plain: Vec<&str> = names.iter().map(|it| &*it.name).collect();
    let given = [(&schemas as _, Type::TEXT_ARRAY), (&plain as _, Type::TEXT_ARRAY)];
    let mut places = HashMap::new();
    for row in client.query_typed(PLACES_SQL, &given).await? {
        let name = TableName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
        let parent_schema: Option<String> = row.try_get(2)?;
        let place = match parent_schema {
            None => None,
            Some(schema) => {
                let parent = Some(TableName::new(schema, row.try_get::<_, String>(3)?));
                Some(PartitionOf { parent, bound: row.try_get::<_, Option<String>>(4)?.unwrap_or_default() })
            }
        };
        places.insert(name, place);
    }
    Ok(places)
}

/// Attaches the partitions of a model whose parents are of the model too, while they are empty.
pub(super) async fn attach_tables(
    executor: &Executor<'_>,
    model: &v1::SchemaModel,
    failed: &[TableName],
) -> Result<(), Error> {
    let by_name: HashSet<TableName> = model.tables.iter().map(v1::Table::table_name).collect();
    let partitions: Vec<&v1::Table> = model.tables.iter().filter(|it| it.partition_of.is_some()).collect();
    if partitions.is_empty() {
        return Ok(());
    }
    let names: Vec<TableName> = partitions.iter().map(|it| it.table_name()).collect();
    let places = places(executor.client, &names).await?;
    for (table, name) in partitions.into_iter().zip(names) {
        let (Some(place), Some(parent)) = (&table.partition_of, table.partition_parent()) else { continue };
        let is_attached = matches!(places.get(&name), Some(Some(_)));
        if is_attached || !by_name.contains(parent) || failed.contains(parent) || failed.contains(&name) {
            continue;
        }
        let sql = tables::attach(parent, &name, &place.bound);
        executor.complete(Object::new("partition", &name.schema, &*name.name), &sql).await?;
    }
    Ok(())
}

/// The index of a partition, and the one of its parent that it is a part of.
struct Part {
    index: TableName,
    parent: TableName,
}

/// Attaches the indexes of a table to those of its parent, and those of its partitions to its own.
pub(super) async fn attach_indexes(
    executor: &Executor<'_>,
    model: &v1::SchemaModel,
    table: &v1::Table,
) -> Result<(), Error> {
    let name = table.table_name();
    let below = model.tables.iter().filter(|it| it.partition_parent() == Some(&name));
    let parts: Vec<Part> = std::iter::once(table).chain(below).flat_map(parts).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let chosen = if executor.results.is_rendering() {
        // Each pair once: with the parent.
        let own: HashSet<&String> = table
            .constraints
            .iter()
            .map(|it| &it.name)
            .chain(table.indexes.iter().map(|it| &it.name))
            .collect();
        parts
            .into_iter()
            .filter(|it| it.parent.schema == name.schema && own.contains(&it.parent.name))
            .collect()
    } else {
        unattached(executor.client, parts).await?
    };
    for Part { index, parent } in chosen {
        let sql = format!(
            "ALTER INDEX {} ATTACH PARTITION {}",
            quote::qualified(&parent.schema, &parent.name),
            quote::qualified(&index.schema, &index.name)
        );
        executor.complete(Object::new("index", &index.schema, &*index.name), &sql).await?;
    }
    Ok(())
}

fn parts(table: &v1::Table) -> Vec<Part> {
    let Some(parent) = table.partition_parent() else { return Vec::new() };
    let of_constraints = table.constraints.iter().map(|it| (&it.name, &it.part_of));
    let of_indexes = table.indexes.iter().map(|it| (&it.name, &it.part_of));
    let all = of_constraints.chain(of_indexes).filter(|(_, part_of)| !part_of.is_empty());
    let part = |(index, part_of): (&String, &String)| Part {
        index: TableName::new(&*table.schema, &**index),
        parent: TableName::new(&*parent.schema, &**part_of),
    };
    all.map(part).collect()
}

async fn unattached(client: &Client, parts: Vec<Part>) -> Result<Vec<Part>, Error> {
    let list = |of: fn(&Part) -> &str| parts.iter().map(of).collect::<Vec<&str>>();
    let given = [
        list(|it| &it.index.schema),
        list(|it| &it.index.name),
        list(|it| &it.parent.schema),
        list(|it| &it.parent.name),
    ];
    let given = given.iter().map(|list| (list as &(dyn ToSql + Sync), Type::TEXT_ARRAY));
    let given: Vec<(&(dyn ToSql + Sync), Type)> = given.collect();
    let mut places = HashSet::new();
    for row in client.query_typed(UNATTACHED_SQL, &given).await? {
        places.insert(row.try_get::<_, i64>(0)?);
    }
    Ok(parts.into_iter().zip(1..).filter(|(_, place)| places.contains(place)).map(|(part, _)| part).collect())
}

/// One thing to do so that partitions hang together as they should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    Drop { table_id: u32, table: TableName, parent: TableName },
    Detach { table: TableName, parent: TableName },
    Attach { table: TableName, parent: TableName, bound: String },
}

impl Move {
    pub(crate) fn table(&self) -> &TableName {
        match self {
            Self::Drop { table, .. } | Self::Detach { table, .. } | Self::Attach { table, .. } => table,
        }
    }

    pub(crate) fn sql(&self) -> String {
        match self {
            // Foreign keys to the whole would keep a part from being dropped.
            Self::Drop { table, parent, .. } => format!(
                "{}; DROP TABLE {}",
                tables::detach(parent, table),
                quote::qualified(&table.schema, &table.name)
            ),
            Self::Detach { table, parent } => tables::detach(parent, table),
            Self::Attach { table, parent, bound } => tables::attach(parent, table, bound),
        }
    }

    /// What was done, for people.
    pub(crate) fn done(&self) -> String {
        match self {
            Self::Drop { table, .. } => format!("partition {table} was dropped, as at the source"),
            Self::Detach { table, parent } => format!("partition {table} was detached from {parent}"),
            Self::Attach { table, parent, .. } => format!("partition {table} was attached to {parent}"),
        }
    }
}

/// What has to be done: whatever takes room goes first, and default partitions come last, because what others take must not be
/// in them. `wanted` are tables with their places, `gone` those that the source has dropped, `standing` what the destination has.
pub(crate) fn moves(
    wanted: &[(TableName, Option<PartitionOf>)],
    gone: &[(u32, TableName)],
    standing: &HashMap<TableName, Option<PartitionOf>>,
) -> Vec<Move> {
    let parent_of = |place: &PartitionOf| place.parent.clone().unwrap_or_default();
    let mut moves = Vec::new();
    for (table_id, table) in gone {
        // With its table it stays, as any table that is dropped at the source.
        if let Some(Some(place)) = standing.get(table)
            && !gone.iter().any(|(_, other)| *other == parent_of(place))
        {
            let (table_id, table, parent) = (*table_id, table.clone(), parent_of(place));
            moves.push(Move::Drop { table_id, table, parent });
        }
    }
    let mut attached = Vec::new();
    for (table, place) in wanted {
        let Some(stands) = standing.get(table) else { continue };
        if stands == place {
            continue;
        }
        if let Some(stands) = stands {
            moves.push(Move::Detach { table: table.clone(), parent: parent_of(stands) });
        }
        if let Some(place) = place {
            let (table, parent, bound) = (table.clone(), parent_of(place), place.bound.clone());
            attached.push(Move::Attach { table, parent, bound });
        }
    }
    attached.sort_by_key(|it| matches!(it, Move::Attach { bound, .. } if bound == "DEFAULT"));
    moves.extend(attached);
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> TableName {
        TableName::new("s", name)
    }

    fn place(parent: &str, bound: &str) -> Option<PartitionOf> {
        Some(PartitionOf { parent: Some(name(parent)), bound: bound.into() })
    }

    #[test]
    fn room_is_made_first_and_default_partitions_come_last() {
        let standing = [
            (name("same"), place("root", "FOR VALUES IN (1)")),
            (name("moved"), place("root", "FOR VALUES IN (2)")),
            (name("alone"), place("root", "FOR VALUES IN (3)")),
            (name("rest"), None),
            (name("new"), None),
            (name("gone"), place("root", "FOR VALUES IN (4)")),
            (name("plain"), None),
            (name("leaf"), place("tree", "FOR VALUES IN (5)")),
        ];
        let wanted = [
            (name("rest"), place("root", "DEFAULT")),
            (name("same"), place("root", "FOR VALUES IN (1)")),
            (name("moved"), place("root", "FOR VALUES IN (2, 6)")),
            (name("alone"), None),
            (name("new"), place("root", "FOR VALUES IN (4)")),
            (name("not there"), place("root", "FOR VALUES IN (7)")),
        ];
        let gone = [(1, name("gone")), (2, name("plain")), (3, name("tree")), (4, name("leaf"))];
        let done: Vec<String> =
            moves(&wanted, &gone, &standing.into_iter().collect()).iter().map(Move::sql).collect();
        let expected = [
            r#"ALTER TABLE "s"."root" DETACH PARTITION "s"."gone"; DROP TABLE "s"."gone""#,
            r#"ALTER TABLE "s"."root" DETACH PARTITION "s"."moved""#,
            r#"ALTER TABLE "s"."root" DETACH PARTITION "s"."alone""#,
            r#"ALTER TABLE ONLY "s"."root" ATTACH PARTITION "s"."moved" FOR VALUES IN (2, 6)"#,
            r#"ALTER TABLE ONLY "s"."root" ATTACH PARTITION "s"."new" FOR VALUES IN (4)"#,
            r#"ALTER TABLE ONLY "s"."root" ATTACH PARTITION "s"."rest" DEFAULT"#,
        ];
        assert_eq!(done, expected);
    }
}
