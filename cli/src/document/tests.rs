//! Good and bad documents, as a specification.

use strait_proto::v1::{EndpointReference, ObjectPattern, OnError, RetryPolicy, TaskSpec};

use super::{Form, parse, pattern_text};

const ENDPOINTS: &str =
    "source: {agent: a, endpoint: s}\ndestination: {agent: b, endpoint: d, database: x}\n";

fn sync(text: &str) -> TaskSpec {
    parse(text, Form::Sync).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn problem(text: &str, form: Form) -> String {
    match parse(text, form) {
        Ok(spec) => panic!("accepted: {text}\n{spec:?}"),
        Err(error) => error.to_string(),
    }
}

fn pattern(schema: &str, table: &str) -> ObjectPattern {
    ObjectPattern { schema: schema.to_owned(), table: table.to_owned(), options: None }
}

#[test]
fn a_whole_document_becomes_the_request() {
    let spec = parse(
        "# a comment\n\
         name: orders-eu-to-us\n\
         environment: production   # a free tag\n\
         source:      {agent: eu-1, endpoint: orders, database: orders}\n\
         destination: {agent: us-1, endpoint: warehouse}\n\
         objects:\n\
         \x20 include:\n\
         \x20   - schema: public\n\
         \x20   - table: sales.orders\n\
         \x20 exclude: [public.audit_log, \"public.tmp_*\", {schema: 'old_*'}]\n\
         retry: {connection: 12h, other: 30m}\n\
         on_error: skip\n",
        Form::Task,
    )
    .unwrap();
    assert_eq!(spec.name, "orders-eu-to-us");
    assert_eq!(spec.environment, "production");
    let reference = |agent: &str, endpoint: &str, database: &str| EndpointReference {
        agent: agent.to_owned(),
        endpoint: endpoint.to_owned(),
        database: database.to_owned(),
    };
    assert_eq!(spec.source, Some(reference("eu-1", "orders", "orders")));
    assert_eq!(spec.destination, Some(reference("us-1", "warehouse", "")));
    assert_eq!(spec.on_error(), OnError::Skip);
    let objects = spec.objects.unwrap();
    assert_eq!(objects.include, [pattern("public", ""), pattern("sales", "orders")]);
    assert_eq!(
        objects.exclude,
        [pattern("public", "audit_log"), pattern("public", "tmp_*"), pattern("old_*", "")]
    );
    assert_eq!(spec.retry, Some(RetryPolicy { connection_minutes: 720, other_minutes: 30 }));
}

#[test]
fn fields_that_are_carried_out_or_ask_for_what_happens_anyway_are_accepted() {
    for text in [
        "",
        "# nothing but a comment\n",
        "name: 12",
        "synchronize: [incremental, schema, full]",
        "synchronize: [schema]",
        "operations: [insert]",
        "existing_tables: proceed",
        "objects: {include: [{table: a.b, distribution_key: [x], storage: heap}]}",
        "objects: {include: [{table: a.b, operations: [insert]}]}",
        "operations: [truncate, delete, update, insert]",
        "existing_tables: fail",
        "name_case: default",
        "name_case: source",
        "name_case: lower",
        "objects: {include: [{table: a.b, columns: [x], rename: {table: c, columns: {x: y}}, primary_key: [y]}]}",
        "partitions: flatten",
        "rewind: 0",
        "rewind: {time: 0, size: 0}",
        "rewind: {time: 0m, size: 1GiB}",
        "rewind: {}",
        "apply: {lanes: 1}",
        "apply: {lanes: 64}",
        "apply: {}",
        "alerts: {on_failure: false}",
        "throttle: {full: {queries_per_second: 0, rows_per_second: 0, megabytes_per_second: 0.0}}",
        "throttle: {incremental: {rows_per_second: 0, megabytes_per_second: 0}}",
        "objects: {}",
        "objects: {include: [], exclude: []}",
        "objects: {include: [{schema: a, operations: [insert, update, delete, truncate]}]}",
        "objects: {include: [{table: a.b, rename: {}, transform: []}]}",
        "retry: {connection: 10m, other: 9m}",
        "retry: {connection: 1d}",
        "on_error: stop",
    ] {
        sync(text);
    }
}

#[test]
fn the_number_of_lanes_is_kept_within_its_bounds() {
    let lanes = |text| sync(text).apply.unwrap().lanes;
    assert_eq!((lanes("name: x"), lanes("apply: {lanes: 1}"), lanes("apply: {lanes: 64}")), (0, 1, 64));
    for wrong in ["0", "65"] {
        let message = problem(&format!("name: x\napply: {{lanes: {wrong}}}"), Form::Sync);
        let wanted = format!("apply.lanes must lie between 1 and 64, not {wrong}");
        assert!(message.contains(&wanted) && message.contains("line 2"), "{message}");
    }
}

#[test]
fn fields_of_later_versions_are_refused_by_name_and_line() {
    for (text, field) in [
        ("rewind: {time: 15m, size: 1GiB}", "rewind"),
        ("rewind: 15m", "rewind"),
        ("throttle: {full: {queries_per_second: 1}}", "throttle.full.queries_per_second"),
        ("throttle: {full: {rows_per_second: 1}}", "throttle.full.rows_per_second"),
        ("throttle: {full: {megabytes_per_second: 0.5}}", "throttle.full.megabytes_per_second"),
        ("failed: {drop_slot_after: 7d}", "failed.drop_slot_after"),
    ] {
        let message = problem(&format!("name: x\n{text}"), Form::Sync);
        assert!(message.starts_with("line 2, column "), "{message}");
        assert!(
            message.ends_with(&format!("not supported yet by this version: field `{field}`")),
            "{message}"
        );
    }
}

#[test]
fn a_throttle_is_given_in_rows_and_megabytes_a_second() {
    let limits = |text: &str| {
        let throttle = sync(&format!("throttle: {{incremental: {{{text}}}}}")).throttle?;
        throttle.incremental.map(|limits| (limits.rows_per_second, limits.bytes_per_second))
    };
    for (text, expected) in [
        ("", None),
        ("rows_per_second: 0, megabytes_per_second: 0", None),
        ("rows_per_second: 500", Some((500, 0))),
        ("megabytes_per_second: 0.3", Some((0, 300_000))),
        ("rows_per_second: 1, megabytes_per_second: 20", Some((1, 20_000_000))),
    ] {
        assert_eq!(limits(text), expected, "{text}");
    }
}

#[test]
fn every_refused_field_is_named_in_one_go() {
    let message = problem("failed: {drop_slot_after: 7d}\nrewind: 15m\nretry: {other: 0m}\n", Form::Task);
    assert_eq!(message.lines().count(), 5, "{message}");
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, expected) in [
        ("nmae: x", "line 1, column 1: unknown field `nmae`; known here: name, environment, source,"),
        (
            "name: x\nobjects:\n  inclde: []",
            "line 3, column 3: unknown field `inclde`; known here: include, exclude",
        ),
        ("objects: {include: [{tabel: a.b}]}", "unknown field `tabel`; known here: schema, table, rename,"),
        ("rewind: {tme: 1m}", "unknown field `tme`; known here: time, size"),
        (
            "name: x\npartitions: flat",
            "line 2, column 13: unknown value `flat`; known here: flatten, preserve",
        ),
        ("name: x\nname: y", "line 2, column 1: field `name` appears twice"),
        ("retry: {connection: 720}", "column 21: \"720\" has no unit: write a number and a unit (m, h, d)"),
        ("retry: {connection: 600s}", "has an unknown unit \"s\""),
        ("retry: {connection: soon}", "\"soon\" is not a duration"),
        ("retry: {connection: 9m}", "retry.connection must lie between 10m and 1440m, not 9m"),
        ("retry: {connection: 25h}", "retry.connection must lie between 10m and 1440m, not 25h"),
        ("retry: {other: 0m}", "retry.other must lie between 1m and 1440m, not 0m"),
        ("retry: {connection: 10m}", "retry.other (10m) must be smaller than retry.connection (10m)"),
        (
            "retry: {connection: 1h, other: 60m}",
            "retry.other (60m) must be smaller than retry.connection (60m)",
        ),
        (
            "throttle: {incremental: {rows_per_second: 0.5}}",
            "column 43: throttle.incremental.rows_per_second must be a whole number from 1, or 0 for no limit, not 0.5",
        ),
        ("throttle: {incremental: {megabytes_per_second: -1}}", "must be a number from 0.000001, or 0"),
        ("throttle: {incremental: {megabytes_per_second: .nan}}", "must be a number from 0.000001, or 0"),
        ("objects: {include: [orders]}", "orders has no schema: write schema.table"),
        ("objects: {exclude: [{table: orders}]}", "orders has no schema: write schema.table"),
        ("objects: {exclude: [{}]}", "an entry needs `schema` or `table`"),
        ("objects: {exclude: [{schema: a, table: a.b}]}", "an entry has either `schema` or `table`"),
        ("objects: {exclude: [{schema: a.b}]}", "a.b is not one name"),
        ("objects: {exclude: [a.b.c]}", "a.b.c has more than two parts"),
        ("objects: {exclude: [a.]}", "a name is empty"),
        ("objects: {exclude: ['\"a.b']}", "a closing quote is missing"),
        ("objects: {exclude: ['\"a\"b.c']}", "a dot is expected after a closing quote"),
        ("objects: {exclude: ['a\"b.c']}", "a quote inside a name"),
        ("objects: {exclude: ['\"a*\".c']}", "a name that itself contains *"),
        ("objects: {exclude: [1]}", "`schema.table` or one of the fields"),
        ("objects: [public]", "line 1, column 10"),
        ("name: [", "line 1"),
        ("just text", "line 1"),
    ] {
        let message = problem(text, Form::Sync);
        assert!(message.contains(expected), "{text}\n  says {message}\n  not  {expected}");
    }
}

#[test]
fn endpoints_belong_to_tasks_and_not_to_sync() {
    parse(ENDPOINTS, Form::Task).unwrap();
    parse(ENDPOINTS, Form::Any).unwrap();
    parse("name: x", Form::Any).unwrap();
    for (text, form, expected) in [
        (ENDPOINTS, Form::Sync, "leave `source` out: --source names the database"),
        ("name: x", Form::Task, "field `source` is missing"),
        ("source: {agent: a, endpoint: s}", Form::Task, "field `destination` is missing"),
        ("source: {agent: a, endpoint: s}", Form::Any, "field `destination` is missing"),
        ("source: {agent: a}", Form::Task, "field `endpoint` is missing"),
        ("source: {agent: a, endpoint: s, db: x}", Form::Task, "unknown field `db`"),
    ] {
        let message = problem(text, form);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn names_are_exact_and_quotes_keep_dots_and_spaces() {
    for (text, schema, table) in [
        ("a.b", "a", "b"),
        ("Sales.Orders", "Sales", "Orders"),
        ("\"odd.schema\".\"odd name\"", "odd.schema", "odd name"),
        ("\"say \"\"hi\"\"\".t", "say \"hi\"", "t"),
        ("*.tmp_*", "*", "tmp_*"),
        ("\"a.b\".tmp_*", "a.b", "tmp_*"),
        ("über.größe", "über", "größe"),
        ("a.my table", "a", "my table"),
    ] {
        let spec = sync(&format!("objects:\n  include:\n    - table: '{text}'\n"));
        let include = spec.objects.unwrap().include;
        assert_eq!(include, [pattern(schema, table)], "{text}");
        let again = sync(&format!("objects:\n  exclude: ['{}']\n", pattern_text(&include[0])));
        assert_eq!(again.objects.unwrap().exclude, include, "{text}");
    }
    let spec = sync("objects: {include: [{schema: '\"a.b\"'}]}");
    assert_eq!(spec.objects.unwrap().include, [pattern("a.b", "")]);
}

#[test]
fn rules_are_read_and_their_expressions_checked() {
    let text = |rule: &str| format!("name: x\nobjects: {{include: [{{table: a.b, transform: [{rule}]}}]}}");
    let spec =
        sync(&text("{when: \"row.country == 'DE'\", set: {email: 'mask(row.email, 2)'}}, {drop: true}"));
    let include = spec.objects.unwrap().include;
    let rules = &include[0].options.as_ref().unwrap().transform;
    assert_eq!((rules.len(), &*rules[0].set["email"], rules[1].drop), (2, "mask(row.email, 2)", true));
    for (rule, expected) in [
        (
            "{drop: true}, {set: {y: 'row.a +'}}",
            "transform[1].set.y: line 1, column 8: mismatched input the end",
        ),
        ("{when: 'email', drop: true}", "transform[0].when: there is no email"),
        ("{set: {y: 'nope(row.x)'}}", "transform[0].set.y: there is no function nope"),
    ] {
        let message = problem(&text(rule), Form::Sync);
        let wanted = format!("objects.include[0].{expected}");
        assert!(message.contains(&wanted) && message.starts_with("line 2, column "), "{message}");
    }
}
