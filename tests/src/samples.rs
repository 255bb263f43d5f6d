//! Databases of well-known programs, as Debian's packages of these programs would make them.

use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::database::Database;
use crate::debian;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The package that brings it.
    pub package: &'static str,
    /// Scripts of the package, in order; packed or not.
    scripts: &'static [&'static str],
    /// Extensions that it takes for granted or creates: they are the operator's at the destination.
    pub extensions: &'static [&'static str],
    /// How many tables it has at least.
    pub tables_min: i64,
}

/// All of them.
pub const SAMPLES: [Sample; 5] = [
    // Genomes: more than a thousand views on hundreds of tables, functions in two languages.
    Sample {
        package: "libchado-perl",
        scripts: &["usr/share/gmod/chado/modules/complete.sql"],
        extensions: &[],
        tables_min: 200,
    },
    // Monitoring, with the rows that it comes with: triggers, hundreds of foreign keys.
    Sample {
        package: "zabbix-server-pgsql",
        scripts: &[
            "usr/share/zabbix-server-pgsql/schema.sql.gz",
            "usr/share/zabbix-server-pgsql/images.sql.gz",
            "usr/share/zabbix-server-pgsql/data.sql.gz",
        ],
        extensions: &[],
        tables_min: 170,
    },
    // Domains, enum types, an operator of its own.
    Sample {
        package: "icingadb",
        scripts: &["usr/share/icingadb/schema/pgsql/schema.sql"],
        extensions: &["citext"],
        tables_min: 60,
    },
    Sample {
        package: "icinga2-ido-pgsql",
        scripts: &["usr/share/icinga2-ido-pgsql/schema/pgsql.sql"],
        extensions: &[],
        tables_min: 60,
    },
    Sample {
        package: "ejabberd",
        scripts: &["usr/share/ejabberd/sql/pg.new.sql"],
        extensions: &[],
        tables_min: 40,
    },
];

impl Sample {
    /// Makes it in an empty database. False, said on standard error, where it cannot be had.
    pub async fn load(&self, database: &Database) -> Result<bool> {
        let Some(package) = debian::package(self.package).await? else { return Ok(false) };
        let psql = crate::version::client_program("psql")?;
        for script in self.scripts {
            let script = package.join(script);
            let unpack = "zcat -f \"$0\" | \"$1\" --no-psqlrc --quiet --dbname \"$2\"";
            let mut shell = Command::new("sh");
            shell.args(["-c", unpack]).arg(&script).arg(&psql).arg(database.uri());
            // Scripts of that age fail here and there; what they made is counted instead.
            shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            shell.status().await.with_context(|| format!("run {script:?}"))?;
        }
        Ok(true)
    }
}
