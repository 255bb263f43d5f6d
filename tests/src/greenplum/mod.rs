//! A stand-in for a server of the Greenplum family, of which none can be had in a test: a database of plain PostgreSQL with the
//! family's catalogs, and a gate in front of it that takes the family's clauses and refuses what the family refuses.
//!
//! What it refuses was observed on a Greenplum 7; that nothing is refused here is no proof that a cluster takes it. It has no
//! segments: nothing can be found out from it about where rows lie, about motion, or about locks that a cluster takes.

mod gate;
mod rules;
mod statements;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};

use crate::database::Database;
use crate::scenario::Scenario;
use crate::server::SUPERUSER;

/// The gate in front of a database that looks like one of the family; ends with its value.
#[derive(Debug)]
pub struct Greenplum {
    _gate: gate::Gate,
    uri: String,
    refusals: Refusals,
}

/// What was refused, in order.
type Refusals = Arc<Mutex<Vec<String>>>;

impl Greenplum {
    /// Makes the scenario's destination look like one of the family, reached through the gate. `beam`: with the storage engine of
    /// AnalyticDB for PostgreSQL.
    pub async fn destination_of(scenario: &mut Scenario, beam: bool) -> Result<Self> {
        let standin = Self::of(&scenario.destination, beam).await?;
        scenario.layout().destination_uri = standin.uri.clone();
        Ok(standin)
    }

    /// The same for the scenario's source.
    pub async fn source_of(scenario: &mut Scenario, beam: bool) -> Result<Self> {
        let standin = Self::of(&scenario.source, beam).await?;
        scenario.layout().source_uri = standin.uri.clone();
        Ok(standin)
    }

    /// Makes a database look like one of the family.
    pub async fn of(database: &Database, beam: bool) -> Result<Self> {
        database.run(include_str!("standin.sql")).await?;
        if beam {
            database.run("CREATE ACCESS METHOD beam TYPE TABLE HANDLER heap_tableam_handler").await?;
        }
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, database.server().port()));
        let refusals = Refusals::default();
        let rules = rules::Rules::new(database.connect().await?, Arc::clone(&refusals));
        let gate = gate::Gate::open(target, rules).await?;
        let uri = format!("postgres://{SUPERUSER}@127.0.0.1:{}/{}", gate.port(), database.name());
        Ok(Self { _gate: gate, uri, refusals })
    }

    /// The database through the gate.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// What was refused so far, in order.
    pub fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fails if anything that Strait did was refused.
    pub fn assert_nothing_refused(&self) -> Result<()> {
        let refusals = self.refusals();
        ensure!(refusals.is_empty(), "the family would refuse:\n{}", refusals.join("\n"));
        Ok(())
    }
}
