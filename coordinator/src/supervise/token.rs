//! The secret of an epoch.

use std::fmt::Write as _;

/// Enough that it cannot be guessed.
const TOKEN_BYTES: usize = 32;

/// A fresh secret from the thread's cryptographic generator, in hexadecimal. It is kept nowhere: an agent
/// that needs one again gets a new epoch.
pub(super) fn generate() -> String {
    let bytes: [u8; TOKEN_BYTES] = rand::random();
    bytes.iter().fold(String::with_capacity(2 * TOKEN_BYTES), |mut token, byte| {
        // Writing to a string cannot fail.
        let _ = write!(token, "{byte:02x}");
        token
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_differ() {
        let (one, other) = (super::generate(), super::generate());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }
}
