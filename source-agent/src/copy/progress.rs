//! How far the full copy is.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use strait_proto::v1;

/// The counters of one copy, by table. Written by the workers, read by whoever reports.
#[derive(Debug, Default)]
pub(crate) struct CopyCounters {
    tables: Vec<TableCounter>,
}

/// One table.
#[derive(Debug)]
pub(crate) struct TableCounter {
    table_id: u32,
    name: v1::TableName,
    rows_total: u64,
    bytes_total: u64,
    state: AtomicU8,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// Where a table stands; the order is that of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TableStage {
    Waiting = 0,
    Copying = 1,
    Indexing = 2,
    Ready = 3,
}

impl TableStage {
    fn name(stage: u8) -> &'static str {
        ["waiting", "copying", "indexing", "ready"].get(usize::from(stage)).copied().unwrap_or("ready")
    }
}

impl TableCounter {
    pub(crate) fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Rows that were copied.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, stage: TableStage) {
        self.state.fetch_max(stage as u8, Ordering::Relaxed);
    }
}

impl CopyCounters {
    /// The tables of a model, as far as the destination has begun them.
    pub(crate) fn new(model: &v1::SchemaModel, states: &[v1::TableState]) -> Self {
        let counter = |table: &v1::Table| {
            let state = states.iter().find(|state| state.table_id == table.table_id);
            let phase = state.map_or(v1::CopyPhase::Unspecified, v1::TableState::phase);
            let stage = match phase {
                v1::CopyPhase::Unspecified | v1::CopyPhase::Copying => TableStage::Waiting,
                v1::CopyPhase::Copied => TableStage::Indexing,
                v1::CopyPhase::Ready | v1::CopyPhase::Suspended => TableStage::Ready,
            };
            let rows = state.map_or(0, |state| state.rows);
            // Bytes are not in the ledger: in proportion to the rows where those are known.
            let bytes = match stage {
                TableStage::Indexing | TableStage::Ready => table.size_bytes,
                _ if table.estimated_rows > 0 => {
                    let part = u128::from(table.size_bytes) * u128::from(rows.min(table.estimated_rows))
                        / u128::from(table.estimated_rows);
                    u64::try_from(part).unwrap_or(table.size_bytes)
                }
                _ => 0,
            };
            TableCounter {
                table_id: table.table_id,
                name: table.table_name(),
                rows_total: table.estimated_rows,
                bytes_total: table.size_bytes,
                state: AtomicU8::new(stage as u8),
                rows: AtomicU64::new(rows),
                bytes: AtomicU64::new(bytes),
            }
        };
        Self { tables: model.tables.iter().map(counter).collect() }
    }

    /// A table's counter.
    pub(crate) fn table(&self, table_id: u32) -> Option<&TableCounter> {
        self.tables.iter().find(|table| table.table_id == table_id)
    }

    /// What to report now. Where there are more tables than `tables_max`, those that wait or are ready are left out first.
    pub(crate) fn snapshot(&self, tables_max: usize) -> v1::CopyProgress {
        let mut progress = v1::CopyProgress::default();
        let mut tables: Vec<(u8, v1::TableProgress)> = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            let stage = table.state.load(Ordering::Relaxed);
            let entry = v1::TableProgress {
                table: Some(table.name.clone()),
                state: TableStage::name(stage).to_owned(),
                rows: table.rows.load(Ordering::Relaxed),
                bytes: table.bytes.load(Ordering::Relaxed),
                rows_total: table.rows_total,
                bytes_total: table.bytes_total,
            };
            progress.rows += entry.rows;
            progress.bytes += entry.bytes;
            progress.rows_total += entry.rows_total;
            progress.bytes_total += entry.bytes_total;
            tables.push((stage, entry));
        }
        if tables.len() > tables_max {
            let is_idle = |stage: &u8| [TableStage::Waiting as u8, TableStage::Ready as u8].contains(stage);
            tables.sort_by_key(|(stage, _)| is_idle(stage));
            tables.truncate(tables_max);
        }
        progress.tables = tables.into_iter().map(|(_, entry)| entry).collect();
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(table_id: u32, rows: u64) -> v1::Table {
        v1::Table {
            table_id,
            name: format!("t{table_id}"),
            estimated_rows: rows,
            size_bytes: rows * 100,
            ..Default::default()
        }
    }

    #[test]
    fn counters_start_where_the_destination_stands() {
        let model =
            v1::SchemaModel { tables: vec![table(1, 10), table(2, 10), table(3, 0)], ..Default::default() };
        let state = |table_id, phase: v1::CopyPhase, rows| v1::TableState {
            table_id,
            phase: phase.into(),
            rows,
            ..Default::default()
        };
        let states = [state(1, v1::CopyPhase::Ready, 12), state(2, v1::CopyPhase::Copying, 5)];
        let counters = CopyCounters::new(&model, &states);
        counters.table(2).unwrap().enter(TableStage::Copying);
        counters.table(2).unwrap().add(3, 300);
        let progress = counters.snapshot(100);
        let lines: Vec<_> = progress.tables.iter().map(|it| (&*it.state, it.rows, it.bytes)).collect();
        assert_eq!(lines, [("ready", 12, 1000), ("copying", 8, 800), ("waiting", 0, 0)]);
        assert_eq!((progress.rows, progress.rows_total), (20, 20));
    }

    #[test]
    fn the_list_is_bounded_and_keeps_what_moves() {
        let model =
            v1::SchemaModel { tables: (0..50).map(|id| table(id, 1)).collect(), ..Default::default() };
        let counters = CopyCounters::new(&model, &[]);
        counters.table(49).unwrap().enter(TableStage::Copying);
        let progress = counters.snapshot(2);
        assert_eq!((progress.tables.len(), &*progress.tables[0].state), (2, "copying"));
        assert_eq!(progress.rows_total, 50);
    }
}
