//! Names for tasks whose creator gave none.

use strait_proto::TaskId;
use strait_proto::v1;

/// How much of each endpoint's name goes into a task's, in characters.
const PART_CHARS: usize = 40;
/// How much of the id, in characters: enough to tell two tasks between the same endpoints apart.
const SUFFIX_CHARS: usize = 4;

/// `orders-to-warehouse-4f2a`: the endpoints and the beginning of the id.
pub(crate) fn generate(spec: &v1::TaskSpec, task_id: &TaskId) -> String {
    let part = |endpoint: &Option<v1::EndpointReference>| -> String {
        endpoint.as_ref().map(|e| e.endpoint.chars().take(PART_CHARS).collect()).unwrap_or_default()
    };
    let suffix: String = task_id.as_str().chars().take(SUFFIX_CHARS).collect();
    format!("{}-to-{}-{suffix}", part(&spec.source), part(&spec.destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_from_where_to_where() {
        let endpoint = |name: &str| {
            Some(v1::EndpointReference { agent: "a".into(), endpoint: name.into(), database: String::new() })
        };
        let spec = v1::TaskSpec {
            source: endpoint("orders"),
            destination: endpoint("warehouse"),
            ..v1::TaskSpec::default()
        };
        let id = "4f2a00000000".parse().unwrap();
        assert_eq!(generate(&spec, &id), "orders-to-warehouse-4f2a");
    }
}
