//! The way to sink-agents: how they are spoken with, and whether what is sent is compressed.

use std::time::Duration;

use strait_runtime::security::{Expected, Security};
use strait_runtime::serve::{ChannelError, Dial, Waiting};
use tonic::transport::Channel;

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
    /// Connections that sink-agents have dialled, where this agent listens for them.
    pub(crate) waiting: Option<Waiting>,
}

/// Where a sink-agent is not reached at once, how long it may take to dial this agent.
const DIALLED_TIMEOUT: Duration = Duration::from_secs(10);

/// There is no way to a sink-agent.
#[derive(Debug)]
pub(crate) enum Unreachable {
    Address(ChannelError),
    Transport(tonic::transport::Error),
}

impl Link {
    /// A connection to the sink-agent `name`: one that it has dialled, else one to its `address`, else one that it dials in the
    /// next seconds. With whether to compress what goes over it.
    pub(crate) async fn connect(&self, address: &str, name: &str) -> Result<(Channel, bool), Unreachable> {
        // A dialled connection comes from another zone.
        let compressed = self.compression.applies(Duration::MAX);
        if let Some(channel) = self.dialled(name, Duration::ZERO).await {
            return Ok((channel, compressed));
        }
        let dial =
            Dial::new(address, &self.security, Expected::sink_agent(name)).map_err(Unreachable::Address)?;
        let error = match dial.connect().await {
            Ok(channel) => return Ok((channel, self.compression.applies(dial.round_trip()))),
            Err(error) => error,
        };
        match self.dialled(name, DIALLED_TIMEOUT).await {
            Some(channel) => Ok((channel, compressed)),
            None => Err(Unreachable::Transport(error)),
        }
    }

    /// Connections that have broken while they waited are passed over.
    async fn dialled(&self, name: &str, deadline: Duration) -> Option<Channel> {
        let waiting = self.waiting.as_ref()?;
        loop {
            let stream = waiting.take(name, deadline).await?;
            match Dial::over(stream).await {
                Ok(channel) => return Some(channel),
                Err(error) => tracing::debug!(%error, "a connection that waited has broken"),
            }
        }
    }
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
