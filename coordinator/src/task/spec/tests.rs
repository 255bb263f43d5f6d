//! What is accepted, what is filled in, and how differences read.

use strait_proto::v1::{NameCase, OnError, Operation, Partitions, TableOptions};

use super::*;

fn valid() -> TaskSpec {
    let endpoint = |agent: &str, endpoint: &str| {
        Some(EndpointReference { agent: agent.into(), endpoint: endpoint.into(), database: String::new() })
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
    assert_eq!(spec.synchronize, [1, 2, 3]);
    assert_eq!(spec.operations, [1, 2, 3, 4]);
    assert_eq!(spec.existing_tables(), ExistingTables::Fail);
    assert_eq!(spec.name_case(), NameCase::Source);
    assert_eq!(spec.partitions(), Partitions::Flatten);
    assert_eq!(normalise(spec.clone()), Ok(spec.clone()));
    // One that was stored before these fields were.
    let before =
        TaskSpec { synchronize: vec![], operations: vec![], partitions: 0, name_case: 0, ..spec.clone() };
    assert_eq!(differences(&before, &spec), []);
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
fn a_throttle_that_limits_nothing_is_none() {
    let nothing = Throttle { incremental: Some(RateLimits { rows_per_second: 0, bytes_per_second: 0 }) };
    assert_eq!(normalise(TaskSpec { throttle: Some(nothing), ..valid() }), normalise(valid()));
}

#[test]
fn differences_name_the_field_and_both_values() {
    let existing = normalise(with_retry(720, 10)).unwrap();
    let mut given = normalise(with_retry(600, 10)).unwrap();
    given.objects = Some(ObjectSelection {
        include: vec![ObjectPattern { schema: "public".into(), table: "a".into(), options: None }],
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

#[test]
fn what_is_synchronised_has_to_make_sense() {
    let parts = |parts: &[Synchronization], existing: ExistingTables| TaskSpec {
        synchronize: parts.iter().map(|part| (*part).into()).collect(),
        existing_tables: existing.into(),
        ..valid()
    };
    use Synchronization::{Full, Incremental, Schema};
    for with_schema in [&[Schema][..], &[Schema, Full], &[Incremental, Schema], &[Full, Schema, Incremental]]
    {
        assert!(normalise(parts(with_schema, ExistingTables::Fail)).is_ok(), "{with_schema:?}");
    }
    for without in [&[Full][..], &[Incremental], &[Full, Incremental]] {
        assert!(normalise(parts(without, ExistingTables::Proceed)).is_ok(), "{without:?}");
        let message = problem(parts(without, ExistingTables::Fail));
        assert!(message.starts_with("synchronize: leaves schema out"), "{message}");
    }
    let ordered = normalise(parts(&[Incremental, Schema, Incremental], ExistingTables::Fail)).unwrap();
    assert_eq!(ordered.synchronize, [i32::from(Schema), i32::from(Incremental)]);
}

#[test]
fn unknown_choices_are_named_with_their_field() {
    let spec = TaskSpec {
        synchronize: vec![9],
        operations: vec![9],
        existing_tables: 9,
        name_case: 9,
        partitions: 9,
        object_kinds: vec!["table".into(), String::new(), "table".into()],
        ..valid()
    };
    let problems = normalise(spec).unwrap_err();
    let fields: Vec<_> = problems.iter().map(|problem| &*problem.field).collect();
    let wanted = [
        "synchronize",
        "existing_tables",
        "object_kinds",
        "object_kinds",
        "operations",
        "name_case",
        "partitions",
    ];
    assert_eq!(fields, wanted);
}

#[test]
fn an_exclude_has_no_options_and_those_of_an_include_are_part_of_the_difference() {
    let entry = |operations: Vec<i32>| ObjectPattern {
        schema: "s".into(),
        table: "t".into(),
        options: Some(TableOptions { operations, ..Default::default() }),
    };
    let insert = i32::from(Operation::Insert);
    let excluding =
        ObjectSelection { include: vec![], exclude: vec![entry(vec![insert])], ..Default::default() };
    let message = problem(TaskSpec { objects: Some(excluding), ..valid() });
    assert!(message.starts_with("objects.exclude[0]: has options"), "{message}");
    let including = |entry| TaskSpec {
        objects: Some(ObjectSelection { include: vec![entry], exclude: vec![], ..Default::default() }),
        ..valid()
    };
    let [all, inserts] =
        [vec![], vec![insert]].map(|operations| normalise(including(entry(operations))).unwrap());
    let texts: Vec<_> = differences(&all, &inserts).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [r#"objects.include is [table "s.t"] there and [table "s.t" {operations: [insert]}] here"#]
    );
}
