//! The way to sink-agents: how they are spoken with, and whether what is sent is compressed.

use std::time::Duration;

use strait_runtime::security::Security;

/// A round trip from which on a link counts as a long one, whose bytes are dearer than this machine's time.
const LONG_LINK: Duration = Duration::from_millis(5);

/// Whether rows and changes are compressed on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// Where the sink-agent is five milliseconds away, or more.
    #[default]
    Auto,
    /// Never.
    None,
    /// Always, by zstd.
    Zstd,
}

impl Compression {
    /// Whether to compress on a link with this round trip.
    pub(crate) fn applies(self, round_trip: Duration) -> bool {
        match self {
            Self::Auto => round_trip >= LONG_LINK,
            Self::None => false,
            Self::Zstd => true,
        }
    }
}

/// How this agent speaks with sink-agents.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) security: Security,
    pub(crate) compression: Compression,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_links_are_compressed_unless_the_operator_knows_better() {
        let (near, far) = (Duration::from_micros(300), Duration::from_millis(80));
        let applies = |compression: Compression| [compression.applies(near), compression.applies(far)];
        assert_eq!(applies(Compression::Auto), [false, true]);
        assert_eq!(applies(Compression::None), [false, false]);
        assert_eq!(applies(Compression::Zstd), [true, true]);
    }
}
