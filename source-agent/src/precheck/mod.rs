//! Whether a task can run on its source, item by item, with what to do where it cannot.
//!
//! Reads only, but for one advisory lock that lets the sink-agent find out whether both ends are the same database. Items
//! have stable names; what cannot be looked at because something before it failed is left out, never guessed.

mod filters;
mod heartbeat;
pub(crate) mod item;
mod neighbours;
mod objects;
mod server;
mod settings;
mod summary;
mod transforms;

use strait_postgres::{Client, Dialect, Error, KernelVersion, catalog};
use strait_proto::v1::{self, PrecheckItem};

use crate::error::{During, RunError};
use crate::mapping::{self, Mapping};
use crate::rows::RowRules;
use crate::source::Source;

use item::{failed, failed_by, passed};

/// Checks the source. The second value holds the probe lock for as long as the sink-agent may need to look for it.
pub(crate) async fn run(
    source: &Source,
    spec: Option<&v1::TaskSpec>,
    selection: &v1::ObjectSelection,
) -> Result<(v1::PrecheckResult, Option<impl Future<Output = ()> + use<>>), RunError> {
    const DOING: &str = "check the source";
    let client = match source.connect().await {
        Ok(client) => client,
        Err(error) => {
            let items = vec![failed_by("source.reachable", &error.failure())];
            return Ok((v1::PrecheckResult { items, source: None }, None));
        }
    };
    let mut items = vec![reachable(&client, source).await.during(DOING)?];
    let server = client.server().await.during(DOING)?;
    if let Err(error) = server.require_source(source.parts.incremental) {
        items.push(failed_by("source.version", &error.failure()));
        return Ok((v1::PrecheckResult { items, source: None }, None));
    }
    items.push(passed("source.version", format!("{} {}", server.dialect, server.version)));
    if server.dialect == Dialect::Greenplum {
        items.push(kernel(&client).await.during(DOING)?);
    }

    let identity = source.identify(&client).await.map(|identified| identified.identity);
    items.extend(server::check(&client, source, &identity).await.during(DOING)?);
    let model = catalog::load(&client, selection).await.during(DOING)?;
    let mapping = Mapping::new(spec);
    mapping.learn(&model);
    let rules = RowRules::asked(&mapping, &model);
    items.extend(objects::check(&client, selection, &rules, &model, source.parts).await.during(DOING)?);
    items.extend(filters::check(&client, &rules, &model).await.during(DOING)?);
    items.extend(transforms::check(&mapping, &rules, &model));
    let mapped = mapping.read_and_apply(&client, &model, &[]).await.during(DOING)?;
    items.extend(mapping::check(&client, &mapping, &source.carried, &model, &mapped).await.during(DOING)?);
    items.extend(mapping::check_distribution(&mapping, &model, &mapped));
    if source.parts.incremental && !server.version.streams_messages() {
        items.push(heartbeat::check(&client).await.during(DOING)?);
    }
    let identity = identity.ok();
    let (mut summary, probe) =
        summary::summarise(client, server.version, identity, &model, &mapped).await.during(DOING)?;
    if spec.is_some_and(|spec| spec.existing_tables() == v1::ExistingTables::Proceed) {
        summary.structures = mapped.model.tables.iter().map(summary::structure).collect();
    }
    Ok((v1::PrecheckResult { items, source: Some(summary) }, Some(probe)))
}

/// Only AnalyticDB for PostgreSQL, which has Beam, is known to want a version.
async fn kernel(client: &Client) -> Result<PrecheckItem, Error> {
    const NAME: &str = "source.kernel_version";
    const BEAM: &str = "SELECT EXISTS (SELECT FROM pg_am WHERE amname = 'beam')";
    let is_analyticdb: bool = client.query_one(BEAM, &[]).await?.try_get(0)?;
    Ok(match client.kernel_version().await? {
        Some(version) if is_analyticdb && version < KernelVersion::SOURCE => failed(
            NAME,
            version.to_string(),
            format!("AnalyticDB for PostgreSQL can be a source from {} on", KernelVersion::SOURCE),
            "Upgrade the instance's minor version.",
        ),
        Some(version) => passed(NAME, version.to_string()),
        None => passed(NAME, "not told by the server"),
    })
}

async fn reachable(client: &Client, source: &Source) -> Result<PrecheckItem, Error> {
    const SQL: &str = "
        SELECT format('database %s as user %s, encoding %s, %s', current_database(), current_user,
                      current_setting('server_encoding'), pg_size_pretty(pg_database_size(current_database())))";
    let row = client.query_one(SQL, &[]).await?;
    let detail: String = row.try_get(0)?;
    Ok(passed("source.reachable", format!("{}: {detail}", source.uri().address())))
}
