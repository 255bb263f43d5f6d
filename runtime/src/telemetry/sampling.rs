//! Which traces are sent.
//!
//! What people and the coordinator ask for is rare, so all of it is sent, or the share that was asked for. Pieces of a change
//! stream come by the thousand and look alike: of those that begin here some are taken each second, however many there are.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use super::names;

/// How many traces of a change stream are begun in a second.
const FRAMES_PER_SECOND: u32 = 5;

/// Decides about traces that begin here; others are followed as they were begun.
#[derive(Debug)]
pub(super) struct Roots {
    share: Sampler,
    second: Mutex<(Option<Instant>, u32)>,
}

impl Roots {
    pub(super) fn new(trace_ratio: f64) -> Self {
        Self { share: Sampler::TraceIdRatioBased(trace_ratio), second: Mutex::default() }
    }

    /// Whether another frame may be taken now.
    fn has_room(&self, now: Instant) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, taken) = &mut *second;
        if began.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1)) {
            (*began, *taken) = (Some(now), 0);
        }
        *taken += 1;
        *taken <= FRAMES_PER_SECOND
    }
}

impl Clone for Roots {
    fn clone(&self) -> Self {
        Self { share: self.share.clone(), second: Mutex::default() }
    }
}

impl ShouldSample for Roots {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result =
            self.share.should_sample(parent_context, trace_id, name, span_kind, attributes, links);
        if result.decision == SamplingDecision::RecordAndSample
            && name == names::SPAN_FRAME
            && !self.has_room(Instant::now())
        {
            result.decision = SamplingDecision::Drop;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_frames_some_are_taken_each_second_and_of_others_all() {
        let roots = Roots::new(1.0);
        let sampled = |name: &str| {
            let result = roots.should_sample(None, TraceId::from(1), name, &SpanKind::Internal, &[], &[]);
            result.decision == SamplingDecision::RecordAndSample
        };
        let start = Instant::now();
        assert_eq!((0..100).filter(|_| roots.has_room(start)).count() as u32, FRAMES_PER_SECOND);
        assert!(!roots.has_room(start));
        assert!(roots.has_room(start + Duration::from_secs(1)));
        assert!((0..100).all(|_| sampled("strait.run")));
        assert!((0..100).filter(|_| sampled(names::SPAN_FRAME)).count() as u32 <= 2 * FRAMES_PER_SECOND);
    }
}
