//! What others see of a task while its actor works on it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use strait_proto::v1::{self, ObjectResult};

use crate::task::TaskRecord;

/// How many objects of a task are remembered.
const OBJECTS_MAX: usize = 200_000;

/// A task at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TaskView {
    pub(crate) record: Arc<TaskRecord>,
    /// Newer than the record's.
    pub(crate) progress: Option<Arc<v1::TaskProgress>>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) last_event_id: u64,
    /// Counts the changes that are more than progress.
    pub(crate) revision: u64,
    /// A precheck or a pause is under way.
    pub(crate) busy: bool,
}

impl TaskView {
    /// Everything.
    pub(crate) fn task(&self) -> v1::Task {
        self.with_objects(self.objects.list())
    }

    /// With the results that came after the first `seen` ones, and how many have come by now.
    pub(crate) fn task_since(&self, seen: u64) -> (v1::Task, u64) {
        let (objects, count) = self.objects.since(seen);
        (self.with_objects(objects), count)
    }

    /// For lists.
    pub(crate) fn summary(&self) -> v1::Task {
        self.with_objects(Vec::new())
    }

    fn with_objects(&self, objects: Vec<ObjectResult>) -> v1::Task {
        v1::Task { progress: self.progress.as_deref().cloned(), ..self.record.to_task(objects) }
    }
}

/// What became of each object of a task: the last result for each counts.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// With the place of each in the order in which they came, from 1.
    by_name: BTreeMap<ObjectKey, (u64, ObjectResult)>,
    /// How many results said something new.
    count: u64,
}

type ObjectKey = (String, String, String);

/// What became of results that were taken in.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// Those that say something new.
    pub(crate) news: Vec<ObjectResult>,
    /// How many had no place.
    pub(crate) left_out: usize,
}

impl Objects {
    pub(crate) fn new(results: Vec<ObjectResult>) -> Self {
        let objects = Self::default();
        objects.merge(results);
        objects
    }

    /// Takes results in; beyond the bound new objects have no place.
    pub(crate) fn merge(&self, results: Vec<ObjectResult>) -> Merged {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Known { by_name, count } = &mut *known;
        let mut merged = Merged::default();
        for result in results {
            let key = (result.object_kind.clone(), result.schema.clone(), result.name.clone());
            let before = by_name.get(&key);
            if before.is_none() && by_name.len() >= OBJECTS_MAX {
                merged.left_out += 1;
            } else if before.is_none_or(|(_, before)| *before != result) {
                *count += 1;
                by_name.insert(key, (*count, result.clone()));
                merged.news.push(result);
            }
        }
        merged
    }

    /// By kind, schema and name.
    pub(crate) fn list(&self) -> Vec<ObjectResult> {
        self.since(0).0
    }

    /// Those that came after the first `seen` results, and how many have come by now.
    fn since(&self, seen: u64) -> (Vec<ObjectResult>, u64) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let newer = known.by_name.values().filter(|(place, _)| *place > seen);
        (newer.map(|(_, result)| result.clone()).collect(), known.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_result_of_an_object_counts() {
        let result = |kind: &str, name: &str, detail: &str| ObjectResult {
            object_kind: kind.into(),
            schema: "public".into(),
            name: name.into(),
            detail: detail.into(),
            ..ObjectResult::default()
        };
        let objects = Objects::new(vec![result("table", "b", "1"), result("table", "a", "2")]);
        let again = vec![result("index", "b", "3"), result("table", "a", "2"), result("table", "b", "4")];
        let news: Vec<_> = objects.merge(again).news.into_iter().map(|r| r.detail).collect();
        assert_eq!(news, ["3", "4"]);
        let newer: Vec<_> = objects.since(2).0.into_iter().map(|r| r.detail).collect();
        assert_eq!((newer, objects.since(2).1), (vec!["3".to_owned(), "4".to_owned()], 4));
        let seen: Vec<_> = objects.list().into_iter().map(|r| (r.object_kind, r.name, r.detail)).collect();
        let expected = [("index", "b", "3"), ("table", "a", "2"), ("table", "b", "4")];
        assert_eq!(seen, expected.map(|(kind, name, detail)| (kind.into(), name.into(), detail.into())));
    }
}
