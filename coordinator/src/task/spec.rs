//! Checks a specification, fills its defaults in, and says how two of them differ.
//!
//! Fields are called as in the task file, so that a person finds the line.

mod alerts;
mod change;
mod choice;
mod options;

use std::fmt;

use strait_proto::object_kind::OBJECT_KINDS;
use strait_proto::v1::{
    ApplyPolicy, EndpointReference, ExistingTables, ObjectPattern, ObjectSelection, Partitions, RateLimits,
    RetryPolicy, Synchronization, TableOptions, TaskSpec, Throttle,
};

pub(crate) use alerts::alerts_of;
pub(crate) use change::{Changes, Effect, NotChangeable, Standing, changes};
use choice::{EXISTING_TABLES, NAME_CASE, ON_ERROR, OPERATIONS, PARTITIONS, SYNCHRONIZE};

/// The bounds of `retry.connection`, minutes.
const CONNECTION_MINUTES: std::ops::RangeInclusive<u32> = 10..=1440;
const CONNECTION_MINUTES_DEFAULT: u32 = 720;
/// The bounds of `retry.other`, minutes.
const OTHER_MINUTES: std::ops::RangeInclusive<u32> = 1..=1440;
const OTHER_MINUTES_DEFAULT: u32 = 10;
/// The bounds of `apply.lanes`.
const LANES: std::ops::RangeInclusive<u32> = 1..=64;
/// The longest label or name of an agent or endpoint, in bytes.
const LABEL_BYTES_MAX: usize = 128;
/// PostgreSQL's NAMEDATALEN - 1.
const NAME_BYTES_MAX: usize = 63;
/// A name of 63 bytes, with room for stars.
const PATTERN_BYTES_MAX: usize = 128;
/// How many patterns `objects.include` and `objects.exclude` may each have.
const PATTERNS_MAX: usize = 10_000;

/// One thing that is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) message: String,
}

/// One field in which two specifications differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) field: String,
    pub(crate) existing: String,
    pub(crate) given: String,
}

/// The same specification with every default filled in; the name stays as it is.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn normalise(spec: TaskSpec) -> Result<TaskSpec, Vec<Problem>> {
    let mut problems = Problems::default();
    problems.label("name", &spec.name);
    problems.label("environment", &spec.environment);
    problems.endpoint("source", spec.source.as_ref());
    problems.endpoint("destination", spec.destination.as_ref());
    let objects = objects(spec.objects.unwrap_or_default(), &mut problems);
    let retry = retry(spec.retry.unwrap_or_default(), &mut problems);
    let apply = apply(spec.apply.unwrap_or_default(), &mut problems);
    let alerts = alerts::normalise(spec.alerts.unwrap_or_default(), &mut problems);
    let synchronize = SYNCHRONIZE.all_or("synchronize", &spec.synchronize, &mut problems);
    let existing_tables = EXISTING_TABLES.one("existing_tables", spec.existing_tables, &mut problems);
    tables_come_from_somewhere(&synchronize, existing_tables, &mut problems);
    problems.kinds(&spec.object_kinds);
    let spec = TaskSpec {
        objects: Some(objects),
        retry: Some(retry),
        throttle: spec.throttle.filter(|throttle| limits(throttle) != RateLimits::default()),
        on_error: ON_ERROR.one("on_error", spec.on_error, &mut problems),
        apply: Some(apply),
        alerts: Some(alerts),
        synchronize,
        operations: OPERATIONS.all_or("operations", &spec.operations, &mut problems),
        existing_tables,
        name_case: NAME_CASE.one("name_case", spec.name_case, &mut problems),
        partitions: PARTITIONS.one("partitions", spec.partitions, &mut problems),
        ..spec
    };
    refuse_unsupported(&spec, &mut problems);
    if problems.0.is_empty() { Ok(spec) } else { Err(problems.0) }
}

/// What this version does not carry out is refused, never ignored.
fn refuse_unsupported(spec: &TaskSpec, problems: &mut Problems) {
    let include: &[_] = spec.objects.as_ref().map_or(&[], |objects| &objects.include);
    let says =
        |entry: &ObjectPattern, what: fn(&TableOptions) -> bool| entry.options.as_ref().is_some_and(what);
    for (index, entry) in include.iter().enumerate() {
        if !says(entry, |options| !options.transform.is_empty()) {
            continue;
        }
        let field = format!("objects.include[{index}].transform");
        if spec.partitions() == Partitions::Preserve {
            problems.add(&*field, "is not supported yet together with partitions: preserve");
        }
        if include.iter().any(|other| says(other, |options| options.merge) && change::overlap(entry, other)) {
            problems.add(field, "is not supported yet for tables that become one (merge)");
        }
    }
}

/// Where two normalised specifications differ.
pub(crate) fn differences(existing: &TaskSpec, given: &TaskSpec) -> Vec<Difference> {
    let (left, right) = (fields(existing), fields(given));
    left.into_iter()
        .zip(right)
        .filter(|((_, existing), (_, given))| existing != given)
        .map(|((field, existing), (_, given))| Difference { field: field.to_owned(), existing, given })
        .collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} there and {} here", self.field, self.existing, self.given)
    }
}

impl fmt::Display for NotChangeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.difference, self.reason)
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { field: field.into(), message: message.into() });
    }

    fn text(&mut self, field: &str, value: &str, bytes_max: usize) {
        if value.len() > bytes_max {
            self.add(field, format!("is {} bytes long; at most {bytes_max} are possible", value.len()));
        }
        if value.chars().any(char::is_control) {
            self.add(field, "contains a control character");
        }
    }

    fn label(&mut self, field: &str, value: &str) {
        self.text(field, value, LABEL_BYTES_MAX);
        if value.trim() != value {
            self.add(field, "begins or ends with a space");
        }
    }

    fn required(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            self.add(field, "is required");
        }
        self.label(field, value);
    }

    fn endpoint(&mut self, field: &str, endpoint: Option<&EndpointReference>) {
        let Some(EndpointReference { agent, endpoint, database }) = endpoint else {
            return self.add(field, "is required: {agent: …, endpoint: …}");
        };
        self.required(&format!("{field}.agent"), agent);
        self.required(&format!("{field}.endpoint"), endpoint);
        self.text(&format!("{field}.database"), database, NAME_BYTES_MAX);
    }

    fn kinds(&mut self, kinds: &[String]) {
        const FIELD: &str = "object_kinds";
        for (index, kind) in kinds.iter().enumerate() {
            if !OBJECT_KINDS.contains(&kind.as_str()) {
                let known = OBJECT_KINDS.join(", ");
                self.add(FIELD, format!("{kind:?} is no kind that can be chosen; these are: {known}"));
            }
            if kinds[..index].contains(kind) {
                self.add(FIELD, format!("names {kind:?} twice"));
            }
        }
    }

    fn patterns(&mut self, field: &str, patterns: &[ObjectPattern]) {
        if patterns.len() > PATTERNS_MAX {
            self.add(field, format!("has {} entries; at most {PATTERNS_MAX} are possible", patterns.len()));
        }
        for (index, pattern) in patterns.iter().enumerate() {
            let entry = format!("{field}[{index}]");
            if pattern.schema.is_empty() {
                self.add(&entry, "names no schema");
            }
            self.text(&entry, &pattern.schema, PATTERN_BYTES_MAX);
            self.text(&entry, &pattern.table, PATTERN_BYTES_MAX);
        }
    }
}

fn retry(given: RetryPolicy, problems: &mut Problems) -> RetryPolicy {
    let or_default = |minutes, default| if minutes == 0 { default } else { minutes };
    let connection = or_default(given.connection_minutes, CONNECTION_MINUTES_DEFAULT);
    let other = or_default(given.other_minutes, OTHER_MINUTES_DEFAULT);
    let before = problems.0.len();
    for (field, minutes, bounds) in
        [("retry.connection", connection, CONNECTION_MINUTES), ("retry.other", other, OTHER_MINUTES)]
    {
        if !bounds.contains(&minutes) {
            let (least, most) = (bounds.start(), bounds.end());
            problems.add(field, format!("is {minutes}m; it must lie between {least}m and {most}m"));
        }
    }
    if problems.0.len() == before && other >= connection {
        let default = if given.other_minutes == 0 { " (its default)" } else { "" };
        let message =
            format!("is {other}m{default}; it must be smaller than retry.connection, {connection}m");
        problems.add("retry.other", message);
    }
    RetryPolicy { connection_minutes: connection, other_minutes: other }
}

/// Without the schema, rows and changes go into tables that are there already.
fn tables_come_from_somewhere(synchronize: &[i32], existing_tables: i32, problems: &mut Problems) {
    let creates = synchronize.contains(&Synchronization::Schema.into());
    if !creates && existing_tables == i32::from(ExistingTables::Fail) {
        problems.add(
            "synchronize",
            "leaves schema out, so the tables have to be at the destination already: say `existing_tables: proceed`, \
             or add schema",
        );
    }
}

fn objects(given: ObjectSelection, problems: &mut Problems) -> ObjectSelection {
    problems.patterns("objects.include", &given.include);
    problems.patterns("objects.exclude", &given.exclude);
    options::refuse_in_excludes("objects.exclude", &given.exclude, problems);
    let include = options::normalise("objects.include", given.include, problems);
    let exclude = given.exclude.into_iter().map(|it| ObjectPattern { options: None, ..it }).collect();
    ObjectSelection { include, exclude, object_kinds: given.object_kinds, partitions: 0 }
}

fn apply(given: ApplyPolicy, problems: &mut Problems) -> ApplyPolicy {
    let lanes = if given.lanes == 0 { *LANES.start() } else { given.lanes };
    if !LANES.contains(&lanes) {
        let (least, most) = (LANES.start(), LANES.end());
        problems.add("apply.lanes", format!("is {lanes}; it must lie between {least} and {most}"));
    }
    ApplyPolicy { lanes }
}

/// Every field with its value as people read it.
fn fields(spec: &TaskSpec) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| format!("{text:?}");
    let source = spec.source.clone().unwrap_or_default();
    let destination = spec.destination.clone().unwrap_or_default();
    let ObjectSelection { include, exclude, .. } = spec.objects.clone().unwrap_or_default();
    let retry = spec.retry.unwrap_or_default();
    let alerts = alerts_of(spec);
    let RateLimits { rows_per_second, bytes_per_second } =
        spec.throttle.as_ref().map(limits).unwrap_or_default();
    vec![
        ("name", quoted(&spec.name)),
        ("environment", quoted(&spec.environment)),
        ("source.agent", quoted(&source.agent)),
        ("source.endpoint", quoted(&source.endpoint)),
        ("source.database", quoted(&source.database)),
        ("destination.agent", quoted(&destination.agent)),
        ("destination.endpoint", quoted(&destination.endpoint)),
        ("destination.database", quoted(&destination.database)),
        ("objects.include", patterns(&include)),
        ("objects.exclude", patterns(&exclude)),
        ("retry.connection", format!("{}m", retry.connection_minutes)),
        ("retry.other", format!("{}m", retry.other_minutes)),
        ("throttle.incremental.rows_per_second", rows_per_second.to_string()),
        ("throttle.incremental.bytes_per_second", bytes_per_second.to_string()),
        ("on_error", ON_ERROR.word(spec.on_error)),
        // A task that was stored before there were lanes has one.
        ("apply.lanes", spec.apply.unwrap_or_default().lanes.max(1).to_string()),
        ("alerts.on_failure", alerts.on_failure().to_string()),
        ("alerts.latency_above", format!("{} ms", alerts.latency_above_ms)),
        ("alerts.slot_retained_above", format!("{} bytes", alerts.slot_retained_above_bytes)),
        ("alerts.webhook", quoted(&alerts.webhook)),
        ("synchronize", SYNCHRONIZE.words(&spec.synchronize)),
        ("object_kinds", kinds(&spec.object_kinds)),
        ("operations", OPERATIONS.words(&spec.operations)),
        ("existing_tables", EXISTING_TABLES.word(spec.existing_tables)),
        ("name_case", NAME_CASE.word(spec.name_case)),
        ("partitions", PARTITIONS.word(spec.partitions)),
    ]
}

/// Those of the change stream, the only ones there are.
fn limits(throttle: &Throttle) -> RateLimits {
    throttle.incremental.unwrap_or_default()
}

fn kinds(kinds: &[String]) -> String {
    if kinds.is_empty() { "all".to_owned() } else { format!("[{}]", kinds.join(", ")) }
}

fn patterns(patterns: &[ObjectPattern]) -> String {
    let entry = |pattern: &ObjectPattern| {
        let options = pattern.options.as_ref().map(options::text).unwrap_or_default();
        format!("{}{options}", covered(pattern))
    };
    format!("[{}]", patterns.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// What an entry covers, for people.
fn covered(pattern: &ObjectPattern) -> String {
    match pattern.table.as_str() {
        "" => format!("schema {:?}", pattern.schema),
        table => format!("table {:?}", format!("{}.{table}", pattern.schema)),
    }
}

#[cfg(test)]
mod tests;
