//! How a stream is started.

use crate::ServerVersion;
use crate::pgoutput::Streaming;

/// The options of START_REPLICATION that Strait chooses among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartOptions {
    /// Whether transactions are sent before they have committed. Decides the protocol version too.
    pub streaming: Streaming,
    /// Whether logical messages are sent, which a server has to
    /// [stream](crate::ServerVersion::streams_messages).
    pub messages: bool,
}

impl StartOptions {
    /// What a server of this version does best: streaming from 14, the parallel mode from 16.
    pub fn best(version: ServerVersion) -> Self {
        let streaming = match version.major() {
            ..14 => Streaming::Off,
            14 | 15 => Streaming::On,
            16.. => Streaming::Parallel,
        };
        Self { streaming, messages: version.streams_messages() }
    }

    /// As options of the command, without the publication.
    pub(super) fn to_sql(self) -> String {
        self.pairs().map(|(name, value)| format!("{name} '{value}'")).collect::<Vec<_>>().join(", ")
    }

    /// The same as arguments of a function.
    pub(super) fn to_arguments(self) -> String {
        self.pairs().map(|(name, value)| format!("'{name}', '{value}'")).collect::<Vec<_>>().join(", ")
    }

    fn pairs(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (version, streaming) = match self.streaming {
            Streaming::Off => ("1", None),
            Streaming::On => ("2", Some("on")),
            Streaming::Parallel => ("4", Some("parallel")),
        };
        let streaming = streaming.map(|mode| ("streaming", mode));
        let messages = self.messages.then_some(("messages", "true"));
        [Some(("proto_version", version)), streaming, messages].into_iter().flatten()
    }
}

impl Default for StartOptions {
    /// What every version understands.
    fn default() -> Self {
        Self { streaming: Streaming::Off, messages: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_asked_for_what_it_has() {
        for (version, sql) in [
            (120_022, "proto_version '1'"),
            (130_022, "proto_version '1'"),
            (140_000, "proto_version '2', streaming 'on', messages 'true'"),
            (150_018, "proto_version '2', streaming 'on', messages 'true'"),
            (160_000, "proto_version '4', streaming 'parallel', messages 'true'"),
            (180_004, "proto_version '4', streaming 'parallel', messages 'true'"),
        ] {
            assert_eq!(StartOptions::best(ServerVersion(version)).to_sql(), sql, "{version}");
        }
    }
}
