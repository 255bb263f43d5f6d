//! The task document: YAML as a person writes it, made into the request that the coordinator takes.
//!
//! Three rules hold here. Every field that the README describes is known to the parser. A field that this
//! version does not carry out is refused, never ignored, unless it asks for what happens anyway. And every
//! message says where in the file it applies.

mod alerts;
mod apply;
mod duration;
mod fields;
mod options;
mod pattern;
mod problem;
mod refuse;
mod retry;
mod rules;
mod throttle;

use strait_proto::v1;

pub(crate) use pattern::pattern_text;
pub use problem::{DocumentError, Problem};

use fields::{Document, Field};

/// Which of the two forms of a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For `strait task create`: with `source` and `destination`.
    Task,
    /// For `strait sync --task`: without them, since the command line names both databases.
    Sync,
    /// Either form: with both or with neither.
    Any,
}

/// Reads a document.
///
/// # Errors
/// Everything that is wrong with it, each with its line and column; a document that is not well-formed YAML,
/// or has an unknown field, ends at the first such problem.
pub fn parse(text: &str, form: Form) -> Result<v1::TaskSpec, DocumentError> {
    let options = serde_saphyr::options! { with_snippet: false };
    // An empty file, or one with comments alone, is a document in which every field has its default.
    let document: Option<Document> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| DocumentError::yaml(&error))?;
    let document = document.unwrap_or_default();
    let mut problems = Vec::new();

    refuse::unsupported(&document, &mut problems);
    refuse::endpoints(&document, form, &mut problems);
    rules::check(&document, &mut problems);
    let objects = pattern::selection(document.objects.as_ref(), &mut problems);
    let retry = retry::policy(document.retry.as_ref(), &mut problems);
    let throttle = throttle::throttle(document.throttle.as_ref(), &mut problems);
    let apply = apply::policy(document.apply.as_ref(), &mut problems);
    let alerts = alerts::policy(document.alerts.as_ref(), &mut problems);

    if !problems.is_empty() {
        return Err(DocumentError::new(problems));
    }
    Ok(v1::TaskSpec {
        name: document.name.unwrap_or_default(),
        environment: document.environment.unwrap_or_default(),
        source: document.source.map(|endpoint| endpoint.value.into()),
        destination: document.destination.map(|endpoint| endpoint.value.into()),
        objects: Some(objects),
        retry: Some(retry),
        throttle,
        on_error: document.on_error.map_or(v1::OnError::Unspecified, v1::OnError::from).into(),
        apply: Some(apply),
        alerts,
        synchronize: options::parts(document.synchronize.as_ref()),
        object_kinds: document.object_kinds.map_or_else(Vec::new, |kinds| kinds.value),
        operations: options::operations(document.operations.as_ref()),
        existing_tables: chosen::<_, v1::ExistingTables>(document.existing_tables),
        name_case: chosen::<_, v1::NameCase>(document.name_case),
        partitions: chosen::<_, v1::Partitions>(document.partitions),
    })
}

fn chosen<T, E: From<T> + Into<i32>>(field: Field<T>) -> i32 {
    field.map_or(0, |field| E::from(field.value).into())
}

#[cfg(test)]
mod tests;
