//! The identity of a task.

use std::fmt;
use std::str::FromStr;

/// The generated id of a task: twelve characters of `[a-z0-9]`, so that it can stand in a slot's name unquoted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(String);

impl TaskId {
    /// Length of every id, in characters.
    pub const LENGTH: usize = 12;

    /// No id has this in it by itself.
    const JOINING: &str = "_join";

    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

    /// An id made of the given bytes: a digest for a derived id, random ones for a fresh id. Equal bytes, equal id.
    pub fn from_entropy(entropy: &[u8; 16]) -> Self {
        let mut rest = u128::from_be_bytes(*entropy);
        let id = (0..Self::LENGTH)
            .map(|_| {
                let digit = (rest % 36) as usize;
                rest /= 36;
                char::from(Self::ALPHABET[digit])
            })
            .collect();
        Self(id)
    }

    /// What stands for the tables that join this task, wherever something is kept under the task's id.
    #[must_use]
    pub fn joining(&self) -> Self {
        if self.is_joining() { self.clone() } else { Self(format!("{}{}", self.0, Self::JOINING)) }
    }

    /// Whether it stands for tables that join a task.
    pub fn is_joining(&self) -> bool {
        self.0.ends_with(Self::JOINING)
    }

    /// The task itself, whether the id stands for it or for the tables that join it.
    #[must_use]
    pub fn task(&self) -> Self {
        Self(self.0.trim_end_matches(Self::JOINING).to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not twelve characters of `[a-z0-9]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a task id: expected twelve characters of a-z and 0-9")]
pub struct ParseTaskIdError(String);

impl FromStr for TaskId {
    type Err = ParseTaskIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.len() == Self::LENGTH && text.bytes().all(|b| Self::ALPHABET.contains(&b));
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseTaskIdError(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entropy_makes_a_valid_id() {
        for entropy in [[0; 16], [0xFF; 16], *b"some other bytes"] {
            let id = TaskId::from_entropy(&entropy);
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
    }

    #[test]
    fn tables_that_join_stand_under_an_id_of_their_own() {
        let id: TaskId = "abcdefghijkl".parse().unwrap();
        let joining = id.joining();
        assert_eq!(joining.as_str(), "abcdefghijkl_join");
        assert!(joining.is_joining() && !id.is_joining());
        assert_eq!((joining.joining(), joining.task(), id.task()), (joining.clone(), id.clone(), id));
        assert!(joining.as_str().parse::<TaskId>().is_err(), "it is no task");
    }

    #[test]
    fn refuses_other_lengths_and_characters() {
        for text in ["", "abcdefghijk", "abcdefghijklm", "ABCDEFGHIJKL", "abcdefghij-l"] {
            assert!(text.parse::<TaskId>().is_err(), "{text:?}");
        }
    }
}
