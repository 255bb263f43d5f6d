//! What only the Greenplum family has of a table: its distribution and its storage engine.

use std::collections::HashMap;

use strait_proto::v1::{Distribution, DistributionKind};

use super::relations::Relations;
use super::snapshot::Snapshot;
use crate::{Dialect, Error};

/// By table; both are empty on PostgreSQL.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) distribution: HashMap<u32, Distribution>,
    pub(super) storage: HashMap<u32, String>,
}

pub(super) async fn read(snapshot: &Snapshot<'_>, relations: &Relations) -> Result<Family, Error> {
    let mut family = Family::default();
    if snapshot.dialect().await? != Dialect::Greenplum {
        return Ok(family);
    }
    for row in snapshot.query_of(include_str!("sql/distribution.sql"), &relations.all()).await? {
        let oid: u32 = row.try_get("oid")?;
        let (policy_type, columns): (String, Vec<String>) =
            (row.try_get("policy_type")?, row.try_get("columns")?);
        family.distribution.insert(oid, distribution(&policy_type, columns));
        family.storage.insert(oid, row.try_get("access_method")?);
    }
    Ok(family)
}

fn distribution(policy_type: &str, columns: Vec<String>) -> Distribution {
    let kind = match policy_type {
        "r" => DistributionKind::Replicated,
        _ if columns.is_empty() => DistributionKind::Random,
        _ => DistributionKind::Hash,
    };
    Distribution { kind: kind.into(), columns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partitioned_policy_without_a_key_is_random() {
        for (policy_type, columns, expected) in [
            ("p", vec!["a".to_owned()], DistributionKind::Hash),
            ("p", vec![], DistributionKind::Random),
            ("r", vec![], DistributionKind::Replicated),
        ] {
            assert_eq!(distribution(policy_type, columns).kind(), expected);
        }
    }
}
