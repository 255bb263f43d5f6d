//! Whether what the destination has belongs to the history of the server that the source is now.
//!
//! A position of a log means something on the timeline that wrote it, and on those that branched off later:
//!
//! ```text
//!   timeline 1  ───────────●────────x      ● where timeline 2 branched off: the promoted standby had no more of the log
//!   timeline 2             └──────────►    x what the old primary had written when it was lost
//! ```
//!
//! A destination at or before ● goes on along timeline 2. One between ● and x has changes that the source has not: nothing
//! can be streamed that would take them back.

use strait_proto::{Lsn, v1};

use crate::error::Error;

/// Whether a task that stands at `checkpoint` goes on along another timeline than it was on, namely the one of `source`.
///
/// # Errors
/// Refused where that is another cluster, or a timeline that does not contain everything that the destination has;
/// [`Error::NotNow`] for a server of an older timeline.
pub(crate) fn changes_timeline(
    checkpoint: &v1::Checkpoint,
    tables: &[v1::TableState],
    source: &v1::SourceIdentity,
    history: &[v1::TimelineSwitch],
) -> Result<bool, Error> {
    let stands = checkpoint.source.clone().unwrap_or_default();
    if stands.system_identifier != source.system_identifier {
        return Err(other_cluster(&stands, source));
    }
    if stands.timeline == source.timeline {
        return Ok(false);
    }
    if stands.timeline > source.timeline {
        return Err(Error::NotNow(format!(
            "the source is on timeline {} and the task already went on along timeline {}: the endpoint leads to a server that \
             was the primary before",
            source.timeline, stands.timeline
        )));
    }
    let Some(switch) = history.iter().find(|switch| switch.timeline == stands.timeline) else {
        return Err(abandoned(format!(
            "timeline {} of the source does not descend from timeline {}, which the task followed",
            source.timeline, stands.timeline
        )));
    };
    let (durable, switch_lsn) = (Lsn(checkpoint.durable_lsn), Lsn(switch.switch_lsn));
    if durable > switch_lsn {
        return Err(abandoned(format!(
            "the destination is at {durable} of timeline {}, and timeline {} of the source branched off at {switch_lsn}: what \
             was committed between the two is at the destination and not at the source",
            stands.timeline, source.timeline
        )));
    }
    let begun_later = tables.iter().filter(|table| table.phase() != v1::CopyPhase::Suspended);
    if let Some(table) = begun_later.max_by_key(|table| table.begin_lsn)
        && Lsn(table.begin_lsn) > switch_lsn
    {
        return Err(abandoned(format!(
            "table {} was copied as it stood at {} of timeline {}, and timeline {} of the source branched off at {switch_lsn}: \
             rows that were committed between the two may be at the destination and not at the source",
            table.table.clone().unwrap_or_default(),
            Lsn(table.begin_lsn),
            stands.timeline,
            source.timeline
        )));
    }
    Ok(true)
}

/// What arrives must come from the cluster and timeline that the destination's position belongs to: a session that was opened
/// before a failover does not go on.
pub(crate) fn require_same(stands: &v1::SourceIdentity, source: &v1::SourceIdentity) -> Result<(), Error> {
    if stands.system_identifier != source.system_identifier {
        return Err(other_cluster(stands, source));
    }
    if stands.timeline != source.timeline {
        return Err(Error::NotNow(format!(
            "the session was opened on timeline {} of the source, and this comes from timeline {}",
            stands.timeline, source.timeline
        )));
    }
    Ok(())
}

/// The destination has what the source's history does not contain.
fn abandoned(cause: String) -> Error {
    Error::refused(
        cause,
        "Point the endpoint at a server that has the task's history, or release the task and create it anew: it copies the data \
         again. With synchronized_standby_slots at the primary (from PostgreSQL 17) nothing is sent that a standby could lack.",
    )
}

/// A position of one cluster means nothing in another.
fn other_cluster(stands: &v1::SourceIdentity, source: &v1::SourceIdentity) -> Error {
    Error::refused(
        format!(
            "the source is another cluster (system identifier {}) than the one that the destination's position belongs to ({})",
            source.system_identifier, stands.system_identifier
        ),
        "Point the task's source endpoint back to the cluster that it began with, or release the task and create it anew.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(system: &str, timeline: u32) -> v1::SourceIdentity {
        v1::SourceIdentity { system_identifier: system.into(), timeline }
    }

    fn at(durable_lsn: u64, timeline: u32) -> v1::Checkpoint {
        v1::Checkpoint { durable_lsn, source: Some(identity("a", timeline)) }
    }

    fn begun(begin_lsn: u64, phase: v1::CopyPhase) -> v1::TableState {
        v1::TableState { begin_lsn, phase: phase.into(), ..Default::default() }
    }

    const HISTORY: [v1::TimelineSwitch; 2] = [
        v1::TimelineSwitch { timeline: 1, switch_lsn: 100 },
        v1::TimelineSwitch { timeline: 3, switch_lsn: 200 },
    ];

    #[test]
    fn a_task_goes_on_only_where_the_history_contains_all_that_it_has() {
        for (checkpoint, moves) in
            [(at(500, 4), Some(false)), (at(100, 1), Some(true)), (at(200, 3), Some(true))]
        {
            let answer = changes_timeline(&checkpoint, &[], &identity("a", 4), &HISTORY);
            assert_eq!(answer.ok(), moves, "{checkpoint:?}");
        }
        for (checkpoint, words) in [
            (at(101, 1), "is at the destination and not at the source"),
            (at(201, 3), "branched off at 0/C8"),
            (at(50, 2), "does not descend"),
        ] {
            let error = changes_timeline(&checkpoint, &[], &identity("a", 4), &HISTORY).unwrap_err();
            let failure = error.failure();
            assert!(failure.definite && failure.cause.contains(words), "{failure:?}");
        }
    }

    #[test]
    fn a_table_that_was_copied_past_the_branch_is_noticed() {
        let of = |table| changes_timeline(&at(90, 1), &[table], &identity("a", 3), &HISTORY);
        assert!(of(begun(100, v1::CopyPhase::Copied)).is_ok_and(|moves| moves));
        assert!(of(begun(101, v1::CopyPhase::Suspended)).is_ok_and(|moves| moves));
        let failure = of(begun(101, v1::CopyPhase::Ready)).unwrap_err().failure();
        assert!(failure.definite && failure.cause.contains("was copied as it stood"), "{failure:?}");
    }

    #[test]
    fn another_cluster_is_refused_and_an_old_primary_waited_out() {
        let failure = changes_timeline(&at(1, 1), &[], &identity("b", 1), &[]).unwrap_err().failure();
        assert!(failure.definite && failure.cause.contains("another cluster"), "{failure:?}");
        let failure = changes_timeline(&at(1, 2), &[], &identity("a", 1), &[]).unwrap_err().failure();
        assert!(!failure.definite && failure.cause.contains("was the primary before"), "{failure:?}");
    }
}
