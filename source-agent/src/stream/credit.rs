//! The sink's consent to send.
//!
//! Sending is allowed while credit is above zero; a frame may take it below, so one of any size gets through. One sender.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Bytes that may be sent.
#[derive(Debug)]
pub(super) struct Credit {
    bytes: Mutex<i128>,
    /// The credit while nothing is under way.
    full: i128,
    granted: Notify,
}

impl Credit {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes: Mutex::new(bytes.into()), full: bytes.into(), granted: Notify::new() }
    }

    /// The sink has consumed something.
    pub(super) fn grant(&self, bytes: u64) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) += i128::from(bytes);
        self.granted.notify_one();
    }

    /// Waits until sending is allowed, then pays.
    pub(super) async fn pay(&self, bytes: u64) {
        while !self.try_pay(bytes) {
            self.granted.notified().await;
        }
    }

    /// Bytes that were sent and that the sink has not consumed.
    pub(super) fn in_flight(&self) -> u64 {
        let bytes = *self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(self.full - bytes).unwrap_or(0)
    }

    fn try_pay(&self, bytes: u64) -> bool {
        let mut credit = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = *credit > 0;
        if allowed {
            *credit -= i128::from(bytes);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn sending_is_allowed_while_credit_is_above_zero() {
        let credit = Credit::new(10);
        for (pay, allowed) in [(9, true), (100, true), (1, false)] {
            assert_eq!(credit.try_pay(pay), allowed, "{pay}");
        }
        for (grant, allowed) in [(98, false), (1, false), (1, true)] {
            credit.grant(grant);
            assert_eq!(credit.try_pay(1), allowed, "{grant}");
        }
        assert_eq!(credit.in_flight(), 10);
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_with_the_next_grant() {
        let credit = Arc::new(Credit::new(0));
        let waiting = tokio::spawn({
            let credit = Arc::clone(&credit);
            async move { credit.pay(5).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        credit.grant(1);
        waiting.await.unwrap();
    }
}
