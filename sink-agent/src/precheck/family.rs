//! What only the Greenplum family has: distribution keys and storage engines.

use std::collections::BTreeSet;

use strait_postgres::{Client, Dialect, KernelVersion};
use strait_proto::v1;
use tokio_postgres::types::Type;

use super::checks::shown;
use super::item::{Checked, failed, fine};
use crate::error::Context as _;

const BEAM: &str = "beam";

/// $1: access methods. Those that are not here, and all that are.
const STORAGE_SQL: &str = "SELECT ARRAY(SELECT w.name FROM unnest($1::text[]) AS w (name)
              WHERE NOT EXISTS (SELECT FROM pg_am AS m WHERE m.amtype = 't' AND m.amname = w.name)),
       ARRAY(SELECT m.amname::text FROM pg_am AS m WHERE m.amtype = 't' ORDER BY 1)";

/// Whether the destination has what the task asks for. Elsewhere it must not be asked for: it would be ignored.
pub(super) async fn check(client: &Client, spec: Option<&v1::TaskSpec>) -> Checked {
    const DOING: &str = "look at the destination's family";
    let server = client.server().await.context(DOING)?;
    let objects = spec.and_then(|spec| spec.objects.clone()).unwrap_or_default();
    match server.dialect {
        Dialect::PostgreSql => elsewhere(server.dialect, &objects),
        Dialect::Greenplum => storage(client, &objects).await,
    }
}

fn elsewhere(dialect: Dialect, objects: &v1::ObjectSelection) -> Checked {
    let asks =
        |options: &v1::TableOptions| !options.distribution_key.is_empty() || !options.storage.is_empty();
    let entries = objects.include.iter().enumerate();
    let asking: Vec<usize> = entries
        .filter(|(_, entry)| entry.options.as_ref().is_some_and(asks))
        .map(|(number, _)| number)
        .collect();
    if asking.is_empty() {
        return fine(dialect.to_string());
    }
    let fields = asking.iter().map(|number| format!("objects.include[{number}]"));
    failed(
        format!("{dialect} has neither distribution keys nor storage engines to choose"),
        format!("asked for in: {}", shown(fields.collect::<Vec<_>>().into_iter())),
        "Take `distribution_key` and `storage` out of the task: they are for the Greenplum family.",
    )
}

async fn storage(client: &Client, objects: &v1::ObjectSelection) -> Checked {
    const DOING: &str = "look for storage engines";
    let options = objects.include.iter().filter_map(|entry| entry.options.as_ref());
    let asked: BTreeSet<&str> =
        options.map(|options| &*options.storage).filter(|storage| !storage.is_empty()).collect();
    let names: Vec<&str> = asked.iter().copied().collect();
    let row = client.query_typed_one(STORAGE_SQL, &[(&names, Type::TEXT_ARRAY)]).await.context(DOING)?;
    let (missing, present): (Vec<String>, Vec<String>) = (row.get(0), row.get(1));
    if !missing.is_empty() {
        return failed(
            format!("the destination has no storage engine {}", missing.join(", ")),
            "tables could not be created with the `storage` that the task asks for",
            format!("Choose a `storage` that it has: {}.", present.join(", ")),
        );
    }
    let version = client.kernel_version().await.context(DOING)?;
    if let Some(version) = version.filter(|version| *version < KernelVersion::BEAM && asked.contains(BEAM)) {
        return failed(
            format!("the destination is {version}"),
            format!("Beam can be chosen from {} on", KernelVersion::BEAM),
            "Upgrade the instance's minor version, or choose another `storage`: heap, ao_row or ao_column.",
        );
    }
    let version = version.map_or("a version that it does not tell".to_owned(), |version| version.to_string());
    fine(format!("{}, {version}, storage engines: {}", Dialect::Greenplum, present.join(", ")))
}
