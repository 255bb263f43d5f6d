//! Columns of text that fit the width.

use super::style::{WIDTH, clean, cut};

const GAP: usize = 2;

/// How a column behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// As wide as its widest cell.
    Left,
    /// As wide as its widest cell, numbers to the right.
    Right,
    /// Takes what the others leave; longer cells are cut.
    Flexible,
}

/// A table under construction.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its headings.
    pub(super) fn new(columns: &[(&str, Column)]) -> Self {
        Self {
            columns: columns.iter().map(|(_, column)| *column).collect(),
            rows: vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect()],
        }
    }

    /// Adds a row, a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell).into_owned()).collect());
    }

    /// The lines, each at most [`WIDTH`] characters wide unless the rigid columns alone are wider.
    pub(super) fn render(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), column) in row.iter().zip(&widths).zip(&self.columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let cell = cut(cell, width);
                match column {
                    Column::Right => line.push_str(&format!("{cell:>width$}")),
                    Column::Left | Column::Flexible => line.push_str(&format!("{cell:<width$}")),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Flexible columns share what the rigid ones leave, the narrow ones first.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let rigid: usize =
            (0..widths.len()).filter(|&c| self.columns[c] != Column::Flexible).map(|c| widths[c]).sum();
        let gaps = GAP * widths.len().saturating_sub(1);
        let mut left = WIDTH.saturating_sub(rigid + gaps);
        let mut flexible: Vec<usize> =
            (0..widths.len()).filter(|&c| self.columns[c] == Column::Flexible).collect();
        flexible.sort_by_key(|&column| widths[column]);
        let count = flexible.len();
        for (served, column) in flexible.into_iter().enumerate() {
            let heading = self.rows[0][column].chars().count();
            widths[column] = widths[column].min(left / (count - served)).max(heading);
            left = left.saturating_sub(widths[column]);
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flexible_columns_give_way_and_numbers_stand_right() {
        let mut table =
            Table::new(&[("ID", Column::Left), ("NAME", Column::Flexible), ("ROWS", Column::Right)]);
        table.row(["a".to_owned(), "x".repeat(100), "1".to_owned()]);
        table.row(["bb".to_owned(), "short".to_owned(), "12,345".to_owned()]);
        let text = table.render();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(lines[1].chars().count(), WIDTH);
        assert!(lines[0].starts_with("ID  NAME "));
        assert!(lines[1].contains("x…"));
        assert!(lines[1].ends_with("       1"), "{text}");
        assert!(lines[2].ends_with("  12,345"), "{text}");
    }
}
