//! Whether the destination has the extensions and languages that objects of the source need.

use std::cmp::Ordering;

use strait_postgres::Client;
use strait_postgres::quote::identifier;
use strait_proto::v1::Requirement;
use tokio_postgres::types::Type;

use super::item::{Checked, fine, warning};
use crate::error::Context as _;

/// $1: extensions. Their versions here, and those that could be created.
const EXTENSIONS_SQL: &str = "SELECT e.extversion, a.default_version
  FROM unnest($1::text[]) WITH ORDINALITY AS w (name, place)
       LEFT JOIN pg_extension AS e ON e.extname = w.name
       LEFT JOIN pg_available_extensions AS a ON a.name = w.name
 ORDER BY w.place";

/// $1: languages. Those that are not here.
const LANGUAGES_SQL: &str = "SELECT w.name FROM unnest($1::text[]) AS w (name) WHERE NOT EXISTS (SELECT FROM pg_language AS l WHERE l.lanname = w.name)";

/// A table that needs a missing type fails another check: what is missing here costs the objects that need it, and no more.
pub(super) async fn check(client: &Client, required: &[Requirement]) -> Checked {
    const DOING: &str = "look for extensions and languages";
    let (extensions, languages): (Vec<&Requirement>, Vec<&Requirement>) =
        required.iter().partition(|it| it.object_kind == "extension");
    let names: Vec<&str> = extensions.iter().map(|it| &*it.name).collect();
    let rows = client.query_typed(EXTENSIONS_SQL, &[(&names, Type::TEXT_ARRAY)]).await.context(DOING)?;
    let mut lacks = Vec::new();
    for (extension, row) in extensions.iter().zip(&rows) {
        lacks.extend(lack(extension, row.get(0), row.get(1)));
    }
    let names: Vec<&str> = languages.iter().map(|it| &*it.name).collect();
    for row in client.query_typed(LANGUAGES_SQL, &[(&names, Type::TEXT_ARRAY)]).await.context(DOING)? {
        let name: &str = row.get(0);
        let needed_by = languages.iter().find(|it| it.name == name).map(|it| it.needed_by.join(", "));
        lacks.push(Lack {
            what: format!("language {name} is missing, needed by {}", needed_by.unwrap_or_default()),
            remedy: format!("CREATE EXTENSION {};", identifier(name)),
        });
    }
    if lacks.is_empty() {
        return fine(format!("the {} extensions and languages that objects need are there", required.len()));
    }
    let whats: Vec<&str> = lacks.iter().map(|lack| &*lack.what).collect();
    let remedies: Vec<&str> = lacks.iter().map(|lack| &*lack.remedy).collect();
    warning(
        whats.join("; "),
        "extensions are not carried: objects that need more than the destination has will fail, and can be tried again later",
        remedies.join(" "),
    )
}

/// What the destination does not have, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Lack {
    what: String,
    remedy: String,
}

fn lack(extension: &Requirement, installed: Option<&str>, available: Option<&str>) -> Option<Lack> {
    let Requirement { name, version, schema, needed_by, .. } = extension;
    let (quoted, needed_by) = (identifier(name), needed_by.join(", "));
    match (installed, available) {
        (Some(installed), _) if compare(installed, version) == Ordering::Less => Some(Lack {
            what: format!("extension {name} has version {installed} here and {version} at the source"),
            remedy: format!("ALTER EXTENSION {quoted} UPDATE;"),
        }),
        (Some(_), _) => None,
        (None, available) => {
            let create = format!("CREATE EXTENSION {quoted} SCHEMA {};", identifier(schema));
            let remedy = match available {
                Some(_) => create,
                None => format!(
                    "Install the package of extension {name} on the destination's server, then {create}"
                ),
            };
            Some(Lack {
                what: format!("extension {name} {version} is missing, needed by {needed_by}"),
                remedy,
            })
        }
    }
}

/// Versions number by number: 1.10 is newer than 1.9.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(one).cmp(&numbers(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_and_a_missing_extension_have_their_remedies() {
        let wanted = Requirement {
            object_kind: "extension".into(),
            name: "ext".into(),
            version: "1.10".into(),
            schema: "s".into(),
            needed_by: vec!["view v".into()],
        };
        for (installed, available, remedy) in [
            (Some("1.10"), Some("1.10"), None),
            (Some("2.0"), None, None),
            (Some("1.9"), Some("1.10"), Some("ALTER EXTENSION \"ext\" UPDATE;")),
            (None, Some("1.9"), Some("CREATE EXTENSION \"ext\" SCHEMA \"s\";")),
        ] {
            let found = lack(&wanted, installed, available).map(|lack| lack.remedy);
            assert_eq!(found.as_deref(), remedy, "{installed:?} {available:?}");
        }
        let remedy = lack(&wanted, None, None).unwrap().remedy;
        assert!(remedy.starts_with("Install the package"), "{remedy}");
    }
}
