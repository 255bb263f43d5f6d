//! The words for what a field may be. A choice that a newer program knows and this one does not is refused: it must not become
//! the default.

use strait_proto::v1::{ExistingTables, NameCase, OnError, Operation, Partitions, Synchronization};

use super::Problems;

/// The choices of a field with the words of the task file; the first one is the default of a field that has one choice.
pub(super) struct Choices<const N: usize>([(i32, &'static str); N]);

pub(super) const ON_ERROR: Choices<2> =
    Choices([(OnError::Stop as i32, OnError::Stop.word()), (OnError::Skip as i32, OnError::Skip.word())]);

pub(super) const SYNCHRONIZE: Choices<3> = Choices([
    (Synchronization::Schema as i32, Synchronization::Schema.word()),
    (Synchronization::Full as i32, Synchronization::Full.word()),
    (Synchronization::Incremental as i32, Synchronization::Incremental.word()),
]);

pub(super) const OPERATIONS: Choices<4> = Choices([
    (Operation::Insert as i32, Operation::Insert.word()),
    (Operation::Update as i32, Operation::Update.word()),
    (Operation::Delete as i32, Operation::Delete.word()),
    (Operation::Truncate as i32, Operation::Truncate.word()),
]);

pub(super) const EXISTING_TABLES: Choices<2> = Choices([
    (ExistingTables::Fail as i32, ExistingTables::Fail.word()),
    (ExistingTables::Proceed as i32, ExistingTables::Proceed.word()),
]);

/// Within the PostgreSQL family the default is what the source has.
pub(super) const NAME_CASE: Choices<3> = Choices([
    (NameCase::Source as i32, NameCase::Source.word()),
    (NameCase::Lower as i32, NameCase::Lower.word()),
    (NameCase::Upper as i32, NameCase::Upper.word()),
]);

pub(super) const PARTITIONS: Choices<2> = Choices([
    (Partitions::Flatten as i32, Partitions::Flatten.word()),
    (Partitions::Preserve as i32, Partitions::Preserve.word()),
]);

impl<const N: usize> Choices<N> {
    /// One of them; 0 is the default.
    pub(super) fn one(&self, field: &str, given: i32, problems: &mut Problems) -> i32 {
        if given != 0 && !self.knows(given) {
            self.refuse(field, problems);
        }
        if given == 0 { self.0[0].0 } else { given }
    }

    /// Those of a list, each once and in their own order; none are all.
    pub(super) fn all_or(&self, field: &str, given: &[i32], problems: &mut Problems) -> Vec<i32> {
        if !given.iter().all(|choice| self.knows(*choice)) {
            self.refuse(field, problems);
        }
        let is_chosen = |choice: &i32| given.is_empty() || given.contains(choice);
        self.0.iter().map(|(choice, _)| *choice).filter(is_chosen).collect()
    }

    /// The same where none stay none.
    pub(super) fn some(&self, field: &str, given: &[i32], problems: &mut Problems) -> Vec<i32> {
        if given.is_empty() { Vec::new() } else { self.all_or(field, given, problems) }
    }

    /// The word for one of them.
    pub(super) fn word(&self, choice: i32) -> String {
        let (_, word) = self.0.iter().find(|(known, _)| *known == choice).unwrap_or(&self.0[0]);
        (*word).to_owned()
    }

    /// The words of a list.
    pub(super) fn words(&self, choices: &[i32]) -> String {
        let is_chosen = |choice: i32| choices.is_empty() || choices.contains(&choice);
        let words = self.0.iter().filter(|(choice, _)| is_chosen(*choice)).map(|(_, word)| *word);
        format!("[{}]", words.collect::<Vec<_>>().join(", "))
    }

    fn knows(&self, choice: i32) -> bool {
        self.0.iter().any(|(known, _)| *known == choice)
    }

    fn refuse(&self, field: &str, problems: &mut Problems) {
        let words: Vec<_> = self.0.iter().map(|(_, word)| *word).collect();
        problems.add(field, format!("is not a choice that this version knows: {}", words.join(", ")));
    }
}
