//! Finds the highest rate that passes by trying: doubling until one fails, then halving the gap.

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Search {
    first: u64,
    passed: Option<u64>,
    failed: Option<u64>,
    tries_left: u32,
}

/// The answer lies within a tenth.
const RESOLUTION_PERCENT: u64 = 10;
/// Enough to double 12 times; a search ends in any case.
const TRIES_MAX: u32 = 16;

impl Search {
    /// Begins at this rate.
    pub(crate) fn from(first: u64) -> Self {
        Self { first, passed: None, failed: None, tries_left: TRIES_MAX }
    }

    /// The rate to try now, or nothing where the answer is known closely enough.
    pub(crate) fn next(&mut self) -> Option<u64> {
        self.tries_left = self.tries_left.checked_sub(1)?;
        match (self.passed, self.failed) {
            (None, None) => Some(self.first),
            (Some(passed), None) => Some(passed * 2),
            (None, Some(failed)) => Some(failed / 2).filter(|rate| *rate > 0),
            (Some(passed), Some(failed)) => {
                let gap = failed.saturating_sub(passed);
                (gap * 100 > passed * RESOLUTION_PERCENT).then_some(passed + gap / 2)
            }
        }
    }

    /// This rate is possible.
    pub(crate) fn pass(&mut self, rate: u64) {
        self.passed = self.passed.max(Some(rate));
    }

    /// This rate is not.
    pub(crate) fn fail(&mut self, rate: u64) {
        self.failed = Some(self.failed.map_or(rate, |failed| failed.min(rate)));
    }

    /// The highest rate that passed.
    pub(crate) fn highest(&self) -> u64 {
        self.passed.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Search;

    fn find(first: u64, limit: u64) -> (u64, u32) {
        let mut search = Search::from(first);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            tries += 1;
            if rate <= limit { search.pass(rate) } else { search.fail(rate) }
        }
        (search.highest(), tries)
    }

    #[test]
    fn the_answer_is_within_a_tenth_below_the_limit() {
        for limit in [700, 4_999, 5_000, 23_456, 70_000] {
            let (found, tries) = find(5_000, limit);
            assert!(found <= limit && found * 11 >= limit * 10, "{found} for {limit}");
            assert!(tries <= 9, "{tries} tries for {limit}");
        }
    }

    #[test]
    fn where_nothing_passes_the_search_ends_with_nothing() {
        assert_eq!(find(5_000, 0).0, 0);
    }
}
