//! The columns of a table as rules for its rows need to know them.

use std::collections::BTreeSet;

use strait_proto::v1::{self, ConstraintKind};

use super::ColumnMap;
use super::expression::key_columns;
use crate::transform::{Input, Kind};

/// All columns but the generated ones, which the destination computes for itself. A key is whatever keeps rows apart.
pub(crate) fn inputs(table: &v1::Table, columns: &ColumnMap) -> Vec<Input> {
    let keys = [ConstraintKind::PrimaryKey, ConstraintKind::Unique];
    let constraints =
        table.constraints.iter().filter(|it| keys.contains(&it.kind())).map(|it| &it.definition);
    let indexes = table.indexes.iter().filter(|it| it.unique).map(|it| &it.definition_tail);
    let key: BTreeSet<String> =
        constraints.chain(indexes).flat_map(|definition| key_columns(definition)).collect();
    let written = table.columns.iter().filter(|column| column.generated.is_none());
    let input = |column: &v1::Column| Input {
        name: column.name.clone(),
        kind: Kind::of_type(&column.type_name),
        carried: columns.carries(&column.name),
        key: key.contains(&column.name),
    };
    written.map(input).collect()
}
