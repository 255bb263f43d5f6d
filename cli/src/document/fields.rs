//! The document, field for field. Nothing here decides what is supported; it only knows every field there is.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde_saphyr::Spanned;
use strait_proto::v1;

/// A field that may be absent, with its place.
pub(super) type Field<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) name: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) source: Field<Endpoint>,
    pub(super) destination: Field<Endpoint>,
    pub(super) synchronize: Field<Vec<Part>>,
    pub(super) objects: Option<Objects>,
    pub(super) object_kinds: Field<Vec<String>>,
    pub(super) operations: Field<Vec<Operation>>,
    pub(super) existing_tables: Field<ExistingTables>,
    pub(super) name_case: Field<NameCase>,
    pub(super) partitions: Field<Partitions>,
    pub(super) retry: Option<Retry>,
    pub(super) on_error: Option<OnError>,
    pub(super) throttle: Option<Throttle>,
    pub(super) rewind: Field<Rewind>,
    pub(super) apply: Option<Apply>,
    pub(super) alerts: Option<Alerts>,
    pub(super) failed: Option<Failed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    agent: String,
    endpoint: String,
    database: Option<String>,
}

impl From<Endpoint> for v1::EndpointReference {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            agent: endpoint.agent,
            endpoint: endpoint.endpoint,
            database: endpoint.database.unwrap_or_default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    Schema,
    Full,
    Incremental,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExistingTables {
    Fail,
    Proceed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NameCase {
    Default,
    Source,
    Lower,
    Upper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Partitions {
    Flatten,
    Preserve,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnError {
    Stop,
    Skip,
}

impl From<OnError> for v1::OnError {
    fn from(on_error: OnError) -> Self {
        match on_error {
            OnError::Stop => Self::Stop,
            OnError::Skip => Self::Skip,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Objects {
    pub(super) include: Option<Vec<Spanned<Entry>>>,
    pub(super) exclude: Option<Vec<Spanned<Entry>>>,
}

/// An entry of `include` or `exclude`: `schema.table` as plain text, or fields.
#[derive(Debug)]
pub(super) enum Entry {
    Text(String),
    Fields(Box<EntryFields>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryFields {
    pub(super) schema: Field<String>,
    pub(super) table: Field<String>,
    pub(super) rename: Field<Rename>,
    pub(super) columns: Field<Vec<String>>,
    #[serde(rename = "where")]
    pub(super) filter: Field<String>,
    pub(super) operations: Field<Vec<Operation>>,
    pub(super) primary_key: Field<Vec<String>>,
    pub(super) distribution_key: Field<Vec<String>>,
    pub(super) storage: Field<String>,
    pub(super) transform: Field<Vec<Transform>>,
    pub(super) column_types: Field<BTreeMap<String, String>>,
    pub(super) merge: Field<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    pub(super) columns: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transform {
    pub(super) when: Option<String>,
    pub(super) set: Option<BTreeMap<String, String>>,
    pub(super) drop: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) connection: Field<String>,
    pub(super) other: Field<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throttle {
    pub(super) full: Option<ThrottleFull>,
    pub(super) incremental: Option<ThrottleIncremental>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThrottleFull {
    pub(super) queries_per_second: Field<f64>,
    pub(super) rows_per_second: Field<f64>,
    pub(super) megabytes_per_second: Field<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThrottleIncremental {
    pub(super) rows_per_second: Field<f64>,
    pub(super) megabytes_per_second: Field<f64>,
}

/// `rewind: 0`, or the two limits.
#[derive(Debug)]
pub(super) enum Rewind {
    Text(String),
    Limits { time: Option<String>, size: Option<String> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    pub(super) lanes: Field<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alerts {
    pub(super) on_failure: Field<bool>,
    pub(super) latency_above: Field<String>,
    pub(super) slot_retained_above: Field<String>,
    pub(super) webhook: Field<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failed {
    pub(super) drop_slot_after: Field<String>,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`schema.table` or one of the fields `schema` and `table`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                EntryFields::deserialize(MapAccessDeserializer::new(map))
                    .map(|fields| Entry::Fields(Box::new(fields)))
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

impl<'de> Deserialize<'de> for Rewind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Limits {
            time: Option<String>,
            size: Option<String>,
        }

        struct RewindVisitor;

        impl<'de> Visitor<'de> for RewindVisitor {
            type Value = Rewind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0, or the fields `time` and `size`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rewind, E> {
                Ok(Rewind::Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Rewind, E> {
                Ok(Rewind::Text(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Rewind, E> {
                Ok(Rewind::Text(number.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rewind, A::Error> {
                Limits::deserialize(MapAccessDeserializer::new(map))
                    .map(|Limits { time, size }| Rewind::Limits { time, size })
            }
        }

        deserializer.deserialize_any(RewindVisitor)
    }
}
