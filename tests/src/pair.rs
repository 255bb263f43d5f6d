//! The two servers of a scenario.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::OnceCell;

use crate::packages::Unavailable;
use crate::server::{Server, ServerOptions};
use crate::version::PgVersion;
use crate::wait::skipped;

/// A server for the source and one for the destination.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Where the changes are made.
    pub source: Arc<Server>,
    /// Where they must arrive.
    pub destination: Arc<Server>,
}

impl Pair {
    /// The pair that all scenarios of this process share, each in databases of its own. Scenarios that stop or crash a
    /// server, or change its settings, start their own pair.
    pub async fn shared() -> Result<Self> {
        static SHARED: OnceCell<Pair> = OnceCell::const_new();
        let pair = SHARED
            .get_or_try_init(|| async {
                let (source, destination) = PgVersion::default_pair()?;
                Self::of(ServerOptions::new(source), ServerOptions::new(destination)).await
            })
            .await?;
        Ok(pair.clone())
    }

    /// A pair of the default versions for one scenario alone.
    pub async fn own() -> Result<Self> {
        let (source, destination) = PgVersion::default_pair()?;
        Self::of(ServerOptions::new(source), ServerOptions::new(destination)).await
    }

    /// A pair of these versions, or `None`, said on standard error, where one of them cannot be had on this machine.
    pub async fn of_versions(source: PgVersion, destination: PgVersion) -> Result<Option<Self>> {
        match Self::of(ServerOptions::new(source), ServerOptions::new(destination)).await {
            Ok(pair) => Ok(Some(pair)),
            Err(error) => match error.downcast_ref::<Unavailable>() {
                Some(reason) => {
                    skipped(&format!("PostgreSQL {source} to {destination}: {reason}"));
                    Ok(None)
                }
                None => Err(error),
            },
        }
    }

    /// A pair with settings of the scenario's choice.
    pub async fn of(source: ServerOptions, destination: ServerOptions) -> Result<Self> {
        let (source, destination) = tokio::try_join!(Server::start(source), Server::start(destination))?;
        Ok(Self { source, destination })
    }
}
