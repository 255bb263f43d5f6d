//! Rows to columns: the parameters of a set-based statement, and which rows can share one.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;

use super::array::{Parameter, TextArray};
use super::copy_text::CopyText;
use super::fold::Image;
use super::relation::Relation;
use super::tuple::Cell;

impl Image {
    /// The target's columns whose values the image has, ascending.
    pub(super) fn present(&self) -> Cow<'_, [usize]> {
        self.known(&self.relation.written)
    }

    /// Of those, the ones that an update sets while the key stays.
    pub(super) fn settable(&self) -> Cow<'_, [usize]> {
        self.known(&self.relation.outside_key)
    }

    fn known<'a>(&'a self, columns: &'a [usize]) -> Cow<'a, [usize]> {
        if self.tuple.is_complete() {
            return Cow::Borrowed(columns);
        }
        let slots = slots(&self.relation, columns);
        let mut known = vec![false; columns.len()];
        for (slot, cell) in slots.iter().zip(self.tuple.cells()) {
            if let Some(slot) = slot {
                known[*slot] = cell != Cell::Unchanged;
            }
        }
        columns.iter().zip(known).filter(|(_, known)| *known).map(|(column, _)| *column).collect()
    }
}

/// One array for each of the target's columns, with the images' values in order.
pub(super) fn fill<'a>(images: impl IntoIterator<Item = &'a Image>, columns: &[usize]) -> Vec<Parameter> {
    let mut arrays: Vec<TextArray> = columns.iter().map(|_| TextArray::default()).collect();
    let mut laid_out: Option<(&Arc<Relation>, Vec<Option<usize>>)> = None;
    for image in images {
        let slots = match laid_out.take() {
            Some((relation, slots)) if Arc::ptr_eq(relation, &image.relation) => slots,
            _ => slots(&image.relation, columns),
        };
        for (slot, cell) in slots.iter().zip(image.tuple.cells()) {
            if let Some(slot) = slot {
                arrays[*slot].push(cell);
            }
        }
        laid_out = Some((&image.relation, slots));
    }
    arrays.into_iter().map(Parameter::Texts).collect()
}

/// The images as rows of a COPY of these columns, each so many times.
pub(super) fn copy<'a>(
    images: impl IntoIterator<Item = (&'a Image, i64)>,
    columns: &[usize],
) -> Vec<bytes::Bytes> {
    let mut text = CopyText::default();
    let mut laid_out: Option<(&Arc<Relation>, Vec<usize>)> = None;
    for (image, copies) in images {
        let positions = match laid_out.take() {
            Some((relation, positions)) if Arc::ptr_eq(relation, &image.relation) => positions,
            _ => columns.iter().filter_map(|column| image.relation.position_of(*column)).collect(),
        };
        let cells: Vec<Cell<'_>> = image.tuple.cells().collect();
        for _ in 0..copies {
            text.push(positions.iter().map(|position| cells[*position]));
        }
        laid_out = Some((&image.relation, positions));
    }
    text.finish()
}

/// Rows of a stage: of each pair the first image's values of `keys`, then the second one's of `set`; with counts, how many
/// copies are meant and the row's number.
pub(super) fn stage<'a>(
    pairs: impl IntoIterator<Item = (&'a Image, &'a Image)>,
    keys: &[usize],
    set: &[usize],
    counts: Option<&[i64]>,
) -> Vec<bytes::Bytes> {
    let mut text = CopyText::default();
    for (place, (old, new)) in pairs.into_iter().enumerate() {
        let value = |image: &'a Image, column: &usize| {
            image.relation.position_of(*column).map_or(Cell::Null, |position| image.tuple.cell(position))
        };
        let cells: Vec<Cell<'_>> = keys
            .iter()
            .map(|column| value(old, column))
            .chain(set.iter().map(|column| value(new, column)))
            .collect();
        let counted =
            counts.and_then(|counts| counts.get(place)).map(|count| [count.to_string(), place.to_string()]);
        let numbers = counted.iter().flatten().map(|number| Cell::Text(number.as_bytes()));
        text.push(cells.into_iter().chain(numbers));
    }
    text.finish()
}

/// For each position of the relation's tuples, which of the target's columns its value goes to.
fn slots(relation: &Relation, columns: &[usize]) -> Vec<Option<usize>> {
    let mut slots = vec![None; relation.column_count];
    for (column, position) in relation.written.iter().zip(&relation.positions) {
        slots[*position] = columns.iter().position(|candidate| candidate == column);
    }
    slots
}

/// The column sets that occur, in the order of their first, each with the places where it occurs.
pub(super) fn by_columns<'a>(sets: impl Iterator<Item = Cow<'a, [usize]>>) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut groups: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    let mut numbers: HashMap<Cow<'a, [usize]>, usize> = HashMap::new();
    let mut last = 0;
    for (place, set) in sets.enumerate() {
        // Mostly it is the set of the row before.
        if groups.get(last).is_none_or(|group| group.0 != *set) {
            last = *numbers.entry(set).or_insert_with_key(|set| {
                groups.push((set.to_vec(), Vec::new()));
                groups.len() - 1
            });
        }
        groups[last].1.push(place);
    }
    groups
}
