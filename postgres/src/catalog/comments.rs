//! Comments on what is no statement of its own: schemas, tables, types, sequences, and parts of those and of views.

use strait_proto::v1;

use super::Parts;
use super::inventory::Inventory;
use super::selection::Selection;
use super::snapshot::Snapshot;
use crate::Error;

pub(super) async fn read(
    snapshot: &Snapshot<'_>,
    inventory: &Inventory,
    selection: &Selection,
    schemas: &[String],
    parts: &Parts,
) -> Result<Vec<v1::Comment>, Error> {
    if !selection.kind("comment") {
        return Ok(Vec::new());
    }
    let mut oids: Vec<u32> = parts.types.iter().map(|(oid, _)| *oid).collect();
    oids.extend(parts.sequences.iter().map(|(oid, _)| *oid));
    oids.extend(parts.tables.iter().map(|table| table.table_id));
    oids.extend(parts.objects.iter().filter(|it| it.node.is_relation()).map(|it| it.node.oid));
    oids.extend(inventory.schemas.iter().filter(|it| schemas.contains(&it.name)).map(|it| it.oid));
    let mut comments = Vec::new();
    for row in snapshot.query_of(include_str!("sql/comments.sql"), &oids).await? {
        comments.push(v1::Comment {
            object_kind: row.try_get("kind")?,
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            part: row.try_get("part")?,
            text: row.try_get("text")?,
        });
    }
    Ok(comments)
}
