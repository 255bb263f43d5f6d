//! How a stream is started.

use crate::ServerVersion;
use crate::pgoutput::Streaming;

/// The options of START_REPLICATION that Strait chooses among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartOptions {
    /// Whether transactions are sent before they have committed. Decides the protocol version too.
    pub streaming: Streaming,
}

impl StartOptions {
    /// What a server of this version does best: streaming from 14, the parallel mode from 16.
    pub fn best(version: ServerVersion) -> Self {
        let streaming = match version.major() {
            ..14 => Streaming::Off,
            14 | 15 => Streaming::On,
            16.. => Streaming::Parallel,
        };
        Self { streaming }
    }

    /// As options of the command, without the publication.
    pub(super) fn to_sql(self) -> &'static str {
        match self.streaming {
            Streaming::Off => "proto_version '1', messages 'true'",
            Streaming::On => "proto_version '2', streaming 'on', messages 'true'",
            Streaming::Parallel => "proto_version '4', streaming 'parallel', messages 'true'",
        }
    }
}

impl Default for StartOptions {
    /// What every version understands.
    fn default() -> Self {
        Self { streaming: Streaming::Off }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_asked_for_what_it_has() {
        for (version, streaming) in [
            (130_022, Streaming::Off),
            (140_000, Streaming::On),
            (150_018, Streaming::On),
            (160_000, Streaming::Parallel),
            (180_004, Streaming::Parallel),
        ] {
            assert_eq!(StartOptions::best(ServerVersion(version)).streaming, streaming, "{version}");
        }
    }
}
