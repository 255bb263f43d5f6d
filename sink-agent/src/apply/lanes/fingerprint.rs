//! A hash that stays the same from one program to the next: FNV-1a, 64 bits.

use strait_proto::Lsn;

use super::super::change::{Change, ChangeKind};

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A running hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(OFFSET_BASIS)
    }
}

impl Fnv {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// Bytes that do not run into those that follow.
    pub(in super::super) fn part(&mut self, bytes: &[u8]) {
        self.bytes(&(bytes.len() as u64).to_be_bytes());
        self.bytes(bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(in super::super) fn finish(self) -> u64 {
        self.0
    }
}

/// What the changes of one table within a batch are, in order.
///
/// By kind and transaction alone: the source's log cannot change, and the order of a table's changes is that of the log. So
/// what could differ from one session to the next is which of them are let through, and that it tells. Their values it
/// leaves out, because one value may arrive in several forms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) changes: u32,
    hash: Fnv,
}

impl Identity {
    /// Takes the next change in and returns its place, from 0.
    pub(super) fn push(&mut self, change: &Change) -> u32 {
        let kind = match change.kind {
            ChangeKind::Insert { .. } => b'I',
            ChangeKind::Update { .. } => b'U',
            ChangeKind::Delete { .. } => b'D',
        };
        let Lsn(commit_lsn) = change.commit_lsn;
        self.hash.bytes(&[kind]);
        self.hash.number(commit_lsn);
        let place = self.changes;
        self.changes += 1;
        place
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference values of the algorithm's authors: a line that one version wrote is read by another.
    #[test]
    fn the_hash_is_the_published_one() {
        for (text, hash) in
            [("", OFFSET_BASIS), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            let mut fnv = Fnv::default();
            fnv.bytes(text.as_bytes());
            assert_eq!(fnv.finish(), hash, "{text}");
        }
    }
}
