//! Checks a specification, fills its defaults in, and says how two of them differ.
//!
//! Fields are called as in the task file, so that a person finds the line.

use std::fmt;

use strait_proto::v1::{
    ApplyPolicy, EndpointReference, ObjectPattern, ObjectSelection, OnError, RateLimits, RetryPolicy,
    TaskSpec, Throttle,
};

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
const DATABASE_BYTES_MAX: usize = 63;
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
    let objects = spec.objects.unwrap_or_default();
    problems.patterns("objects.include", &objects.include);
    problems.patterns("objects.exclude", &objects.exclude);
    let retry = retry(spec.retry.unwrap_or_default(), &mut problems);
    let on_error = on_error(spec.on_error, &mut problems);
    let apply = apply(spec.apply.unwrap_or_default(), &mut problems);
    if problems.0.is_empty() {
        let throttle = spec.throttle.filter(|throttle| limits(throttle) != RateLimits::default());
        let (objects, retry, on_error) = (Some(objects), Some(retry), on_error.into());
        Ok(TaskSpec { objects, retry, throttle, on_error, apply: Some(apply), ..spec })
    } else {
        Err(problems.0)
    }
}

/// The fields that may change at any time.
const CHANGEABLE: &[&str] =
    &["environment", "throttle.incremental.rows_per_second", "throttle.incremental.bytes_per_second"];

/// The fields that an agent is told of with its assignment: they may change while nothing is assigned.
const CHANGEABLE_AT_REST: &[&str] = &["retry.connection", "retry.other", "on_error", "apply.lanes"];

impl Difference {
    /// Whether the field may change while the task runs, or only while it is at rest.
    pub(crate) fn is_changeable(&self, at_rest: bool) -> bool {
        let field = &&*self.field;
        CHANGEABLE.contains(field) || (at_rest && CHANGEABLE_AT_REST.contains(field))
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
        self.text(&format!("{field}.database"), database, DATABASE_BYTES_MAX);
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

/// A choice that a newer program knows and this one does not must not become the default.
fn on_error(given: i32, problems: &mut Problems) -> OnError {
    match OnError::try_from(given) {
        Ok(OnError::Unspecified) => OnError::Stop,
        Ok(choice) => choice,
        Err(_) => {
            problems.add("on_error", "is not a choice that this version knows: stop, skip");
            OnError::Stop
        }
    }
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
        ("on_error", if spec.on_error() == OnError::Skip { "skip" } else { "stop" }.to_owned()),
        // A task that was stored before there were lanes has one.
        ("apply.lanes", spec.apply.unwrap_or_default().lanes.max(1).to_string()),
    ]
}

/// Those of the change stream, the only ones there are.
fn limits(throttle: &Throttle) -> RateLimits {
    throttle.incremental.unwrap_or_default()
}

fn patterns(patterns: &[ObjectPattern]) -> String {
    let entry = |pattern: &ObjectPattern| match pattern.table.as_str() {
        "" => format!("schema {:?}", pattern.schema),
        table => format!("table {:?}", format!("{}.{table}", pattern.schema)),
    };
    format!("[{}]", patterns.iter().map(entry).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> TaskSpec {
        let endpoint = |agent: &str, endpoint: &str| {
            Some(EndpointReference {
                agent: agent.into(),
                endpoint: endpoint.into(),
                database: String::new(),
            })
        };
        TaskSpec {
            source: endpoint("eu-1", "orders"),
            destination: endpoint("us-1", "warehouse"),
            ..TaskSpec::default()
        }
    }

    fn with_retry(connection_minutes: u32, other_minutes: u32) -> TaskSpec {
        TaskSpec { retry: Some(RetryPolicy { connection_minutes, other_minutes }), ..valid() }
    }

    fn problem(spec: TaskSpec) -> String {
        let problems = normalise(spec).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn defaults_are_filled_in() {
        let spec = normalise(valid()).unwrap();
        assert_eq!(spec.retry, Some(RetryPolicy { connection_minutes: 720, other_minutes: 10 }));
        assert_eq!(spec.objects, Some(ObjectSelection::default()));
        assert_eq!(spec.on_error(), OnError::Stop);
        assert_eq!(spec.apply, Some(ApplyPolicy { lanes: 1 }));
        assert_eq!(normalise(spec.clone()), Ok(spec));
    }

    #[test]
    fn the_bounds_of_the_retry_windows_are_kept() {
        for (connection, other) in [(10, 9), (1440, 1439), (11, 0), (0, 719), (720, 1)] {
            assert!(normalise(with_retry(connection, other)).is_ok(), "{connection} {other}");
        }
        for (connection, other, expected) in [
            (9, 1, "retry.connection: is 9m; it must lie between 10m and 1440m"),
            (1441, 1, "retry.connection: is 1441m; it must lie between 10m and 1440m"),
            (720, 1441, "retry.other: is 1441m; it must lie between 1m and 1440m"),
            (20, 20, "retry.other: is 20m; it must be smaller than retry.connection, 20m"),
            (10, 0, "retry.other: is 10m (its default); it must be smaller than retry.connection, 10m"),
        ] {
            assert_eq!(problem(with_retry(connection, other)), expected);
        }
    }

    #[test]
    fn the_bounds_of_lanes_are_kept() {
        let with_lanes = |lanes| TaskSpec { apply: Some(ApplyPolicy { lanes }), ..valid() };
        assert!(normalise(with_lanes(64)).is_ok());
        let wanted = "apply.lanes: is 65; it must lie between 1 and 64";
        assert_eq!(problem(with_lanes(65)), wanted);
        let [one, many] = [0, 8].map(|lanes| normalise(with_lanes(lanes)).unwrap());
        let texts: Vec<_> = differences(&one, &many).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["apply.lanes is 1 there and 8 here"]);
    }

    #[test]
    fn every_problem_is_named_with_its_field() {
        let pattern = |schema: &str, table: &str| ObjectPattern {
            schema: schema.into(),
            table: table.into(),
            options: None,
        };
        let mut spec = TaskSpec { name: " x".into(), environment: "a\nb".into(), ..valid() };
        spec.source = None;
        spec.destination = Some(EndpointReference { database: "d".repeat(64), ..Default::default() });
        spec.objects = Some(ObjectSelection {
            include: vec![pattern("public", ""), pattern("", "t")],
            exclude: vec![],
            ..Default::default()
        });
        assert_eq!(
            problem(spec),
            "name: begins or ends with a space; environment: contains a control character; \
             source: is required: {agent: …, endpoint: …}; destination.agent: is required; \
             destination.endpoint: is required; \
             destination.database: is 64 bytes long; at most 63 are possible; \
             objects.include[1]: names no schema"
        );
    }

    #[test]
    fn an_unknown_choice_of_on_error_is_refused() {
        let spec = TaskSpec { on_error: 99, ..valid() };
        assert_eq!(problem(spec), "on_error: is not a choice that this version knows: stop, skip");
    }

    #[test]
    fn a_throttle_that_limits_nothing_is_none_and_may_change_at_any_time() {
        let throttled = |rows_per_second, bytes_per_second| TaskSpec {
            throttle: Some(Throttle { incremental: Some(RateLimits { rows_per_second, bytes_per_second }) }),
            ..valid()
        };
        assert_eq!(normalise(throttled(0, 0)), normalise(valid()));
        let (existing, mut given) =
            (normalise(throttled(5, 7)).unwrap(), normalise(with_retry(600, 10)).unwrap());
        given.environment = "test".into();
        given.name = "other".into();
        given.set_on_error(OnError::Skip);
        given.apply = Some(ApplyPolicy { lanes: 4 });
        let fields = differences(&existing, &given);
        let fields: Vec<_> =
            fields.iter().map(|it| (&*it.field, it.is_changeable(false), it.is_changeable(true))).collect();
        assert_eq!(
            fields,
            [
                ("name", false, false),
                ("environment", true, true),
                ("retry.connection", false, true),
                ("throttle.incremental.rows_per_second", true, true),
                ("throttle.incremental.bytes_per_second", true, true),
                ("on_error", false, true),
                ("apply.lanes", false, true)
            ]
        );
    }

    #[test]
    fn differences_name_the_field_and_both_values() {
        let existing = normalise(with_retry(720, 10)).unwrap();
        let mut given = normalise(with_retry(600, 10)).unwrap();
        given.objects = Some(ObjectSelection {
            include: vec![ObjectPattern { schema: "public".into(), table: "a".into(), options: None }],
            exclude: vec![],
            ..Default::default()
        });
        let texts: Vec<_> = differences(&existing, &given).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                r#"objects.include is [] there and [table "public.a"] here"#,
                "retry.connection is 720m there and 600m here"
            ]
        );
        assert!(differences(&existing, &existing.clone()).is_empty());
    }
}
