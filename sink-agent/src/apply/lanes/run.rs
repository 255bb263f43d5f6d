//! Executes the lanes of a batch at once, then ends it.

use futures_util::future::try_join_all;
use strait_postgres::ConnectionUri;
use strait_proto::Lsn;
use strait_proto::v1::OnError;

use super::super::batch::Extent;
use super::super::change::Operation;
use super::super::connection::Connection;
use super::super::executor::{Executor, LaneOutcome, Outcome};
use super::prepare::{LanePlan, chosen, folded};
use crate::error::Error;
use crate::store::{Claim, begin_lane};

/// A connection for each lane.
pub(crate) struct Lanes {
    claim: Claim,
    executors: Vec<Executor>,
}

impl Lanes {
    /// Connects; for one lane there is nothing to connect.
    pub(crate) async fn open(
        uri: &ConnectionUri,
        claim: &Claim,
        durable_lsn: Lsn,
        on_error: OnError,
        lanes: usize,
    ) -> Result<Self, Error> {
        let count = if lanes > 1 { lanes } else { 0 };
        let executors = (0..count).map(|_| async move {
            let connection = Connection::open_for_changes(uri, &claim.task_id).await?;
            Executor::new(connection, claim.clone(), durable_lsn, on_error).await
        });
        Ok(Self { claim: claim.clone(), executors: try_join_all(executors).await? })
    }

    /// Applies a batch of whole transactions that ends at `end_lsn`. `end` moves the position, and applies what lanes were
    /// refused, all of it together and in order, once every lane has ended.
    ///
    /// After an error some lanes may have committed: the session must end, the next one knows.
    pub(crate) async fn run(
        &mut self,
        end: &mut Executor,
        operations: &[Operation],
        plans: &[LanePlan],
        end_lsn: Lsn,
    ) -> Result<Outcome, Error> {
        let applied_lsn = end.durable_lsn();
        let claim = &self.claim;
        let lanes =
            self.executors.iter_mut().zip(plans).enumerate().map(|(lane, (executor, plan))| async move {
                let Some(steps) = &plan.steps else { return Ok(LaneOutcome::Refused(CHAINS.to_owned())) };
                executor.lane(&begin_lane(claim, lane, applied_lsn, end_lsn, &plan.lines), steps).await
            });
        let outcomes = try_join_all(lanes).await?;

        let mut outcome = Outcome::default();
        let mut refused: Vec<usize> = Vec::new();
        // A batch has no more plans than there are executors; if it had, those would be the end's.
        let outcomes = outcomes.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        for (plan, lane) in plans.iter().zip(outcomes) {
            match lane {
                Some(LaneOutcome::Committed(conflicts)) => outcome.conflicts.merge(conflicts),
                Some(LaneOutcome::Refused(reason)) => {
                    tracing::debug!(reason, changes = plan.places.len(), "a lane was refused");
                    refused.extend(&plan.places);
                }
                None => refused.extend(&plan.places),
            }
        }
        if refused.is_empty() {
            end.advance(end_lsn).await?;
            return Ok(outcome);
        }
        refused.sort_unstable();
        let rest = chosen(operations, &refused);
        let steps = folded(&rest)?;
        let ended = end.run(&rest, steps.as_deref(), Extent::Whole { end_lsn }).await?;
        outcome.conflicts.merge(ended.conflicts);
        outcome.fallback = ended.fallback;
        Ok(outcome)
    }
}

const CHAINS: &str = "rows change their keys in long chains";
