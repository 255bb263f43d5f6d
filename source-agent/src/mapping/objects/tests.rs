//! Definitions and what becomes of them.

use std::collections::BTreeMap;

use strait_proto::v1::NameCase;

use super::super::Mapping;
use super::super::names::ExtensionMembers;
use super::*;

fn columns(names: &[&str]) -> Vec<v1::Column> {
    names.iter().map(|name| v1::Column { name: (*name).into(), ..Default::default() }).collect()
}

fn entry(
    schema: &str,
    table: &str,
    to: (&str, &str),
    columns: &[(&str, &str)],
    only: &[&str],
) -> v1::ObjectPattern {
    let columns: BTreeMap<String, String> =
        columns.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let rename = v1::Rename { schema: to.0.into(), table: to.1.into(), columns };
    let only = only.iter().map(|it| (*it).to_owned()).collect();
    let options = v1::TableOptions { rename: Some(rename), columns: only, ..Default::default() };
    v1::ObjectPattern { schema: schema.into(), table: table.into(), options: Some(options) }
}

/// `s.t (a, b, c)` becomes `n.u (x, b, c)`, `s.part (a, gone)` is `n.part (a)`, `s.q` is `n.q`.
fn spec(existing: v1::ExistingTables) -> v1::TaskSpec {
    let include = vec![
        entry("s", "", ("n", ""), &[], &[]),
        entry("s", "t", ("", "u"), &[("a", "x")], &[]),
        entry("s", "part", ("", ""), &[], &["a"]),
    ];
    v1::TaskSpec {
        objects: Some(v1::ObjectSelection { include, ..Default::default() }),
        existing_tables: existing.into(),
        name_case: NameCase::Source.into(),
        ..Default::default()
    }
}

fn object(kind: &str, name: &str, statements: &str) -> v1::SchemaObject {
    v1::SchemaObject {
        object_kind: kind.into(),
        schema: "s".into(),
        name: name.into(),
        statements: statements.into(),
        ..Default::default()
    }
}

fn followed(objects: Vec<v1::SchemaObject>, existing: v1::ExistingTables) -> v1::SchemaModel {
    let table = |table_id, name: &str, names: &[&str]| v1::Table {
        table_id,
        schema: "s".into(),
        name: name.into(),
        columns: columns(names),
        ..Default::default()
    };
    let model = v1::SchemaModel {
        schemas: vec!["s".into()],
        tables: vec![
            table(1, "t", &["a", "b", "c"]),
            table(2, "part", &["a", "gone"]),
            table(3, "same", &["a"]),
        ],
        sequences: vec![v1::Sequence { schema: "s".into(), name: "q".into(), ..Default::default() }],
        objects,
        ..Default::default()
    };
    Mapping::new(Some(&spec(existing))).apply(&model, ExtensionMembers::default(), &[]).model
}

fn query(text: &str, existing: v1::ExistingTables) -> Result<String, String> {
    let model = followed(vec![object("view", "v", &format!("CREATE VIEW s.v AS\n{text}"))], existing);
    match model.objects.first() {
        Some(view) => {
            Ok(view.statements.strip_prefix("CREATE VIEW \"n\".\"v\" AS\n").unwrap_or_default().to_owned())
        }
        None => Err(model.skipped.last().map(|it| it.detail.clone()).unwrap_or_default()),
    }
}

#[test]
fn queries_name_other_relations_and_the_same_columns() {
    for (text, wanted) in [
        (
            " SELECT a,\n    b\n   FROM s.t\n  WHERE (a > 0)",
            " SELECT a,\n    b\n   FROM \"n\".\"u\" \"t\"(\"a\", \"b\", \"c\")\n  WHERE (a > 0)",
        ),
        (" SELECT o.a FROM s.t o", " SELECT o.a FROM \"n\".\"u\" \"o\"(\"a\", \"b\", \"c\")"),
        (" SELECT o.p FROM s.t o(p, q, r)", " SELECT o.p FROM \"n\".\"u\" \"o\"(\"p\", \"q\", \"r\")"),
        (" SELECT same.a FROM s.same", " SELECT same.a FROM \"n\".\"same\""),
        (" SELECT part.a FROM s.part", " SELECT part.a FROM \"n\".\"part\""),
        (" SELECT p.x FROM s.part p(x, y)", " SELECT p.x FROM \"n\".\"part\" \"p\"(\"x\")"),
        (
            " SELECT s.a FROM (s.same s JOIN ONLY s.t USING (a))",
            " SELECT s.a FROM (\"n\".\"same\" \"s\" JOIN ONLY \"n\".\"u\" \"t\"(\"a\", \"b\", \"c\") USING (a))",
        ),
        (
            " WITH t AS ( SELECT same.a FROM s.same) SELECT t.a FROM t, LATERAL s.f(t.a) f(a)",
            " WITH t AS ( SELECT same.a FROM \"n\".\"same\") SELECT t.a FROM t, LATERAL \"n\".\"f\"(t.a) f(a)",
        ),
        (
            " SELECT EXTRACT(year FROM t.a) AS e, (t.b IS DISTINCT FROM t.c) FROM s.t TABLESAMPLE system (1)",
            " SELECT EXTRACT(year FROM t.a) AS e, (t.b IS DISTINCT FROM t.c) FROM \"n\".\"u\" \"t\"(\"a\", \"b\", \"c\") TABLESAMPLE system (1)",
        ),
        (
            " SELECT same.a FROM s.same WHERE (EXISTS ( SELECT FROM s.same same_1 WHERE (same_1.a = nextval('s.q'::regclass))))",
            " SELECT same.a FROM \"n\".\"same\" WHERE (EXISTS ( SELECT FROM \"n\".\"same\" \"same_1\" WHERE (same_1.a = nextval('\"n\".\"q\"'::regclass))))",
        ),
        (
            " SELECT t.*::s.t AS t FROM s.t",
            " SELECT t.*::\"n\".\"u\" AS t FROM \"n\".\"u\" \"t\"(\"a\", \"b\", \"c\")",
        ),
        (" SELECT 'FROM s.t'::text AS x FROM pg_class c", " SELECT 'FROM s.t'::text AS x FROM pg_class c"),
    ] {
        assert_eq!(query(text, v1::ExistingTables::Fail).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn columns_of_tables_that_may_exist_are_chosen_by_name() {
    for (text, wanted) in [
        (
            " SELECT t.a FROM s.t",
            Ok(
                " SELECT t.a FROM (SELECT \"x\" AS \"a\", \"b\" AS \"b\", \"c\" AS \"c\" FROM \"n\".\"u\") \"t\"",
            ),
        ),
        (" SELECT t.a FROM ONLY s.t", Err("ONLY and TABLESAMPLE")),
    ] {
        match (query(text, v1::ExistingTables::Proceed), wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted),
            (Err(found), Err(wanted)) => assert!(found.contains(wanted), "{found}"),
            (found, wanted) => panic!("{found:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn what_cannot_be_followed_says_why() {
    for (text, wanted) in [
        (" SELECT p.* FROM s.part p", "the whole row"),
        (" SELECT (f.r).a FROM s.f() f", "the field a"),
        (" SELECT j.x FROM (s.same JOIN s.part ON (true)) j(x, y, z)", "columns of a join"),
    ] {
        let found = query(text, v1::ExistingTables::Fail);
        assert!(found.as_ref().is_err_and(|it| it.contains(wanted)), "{text}: {found:?}");
    }
}

fn body(language: &str, header: &str, text: &str) -> Result<String, String> {
    let statement = format!(
        "CREATE FUNCTION s.f()\n RETURNS bigint\n LANGUAGE {language}\n{header}AS $function${text}$function$\n"
    );
    let model = followed(vec![object("function", "f()", &statement)], v1::ExistingTables::Fail);
    match model.objects.first() {
        Some(function) => {
            let (_, rest) = function.statements.split_once("$function$").unwrap_or_default();
            Ok(rest.trim_end().trim_end_matches("$function$").to_owned())
        }
        None => Err(model.skipped.last().map(|it| it.detail.clone()).unwrap_or_default()),
    }
}

#[test]
fn texts_are_followed_where_every_name_says_its_schema() {
    for (language, header, text, wanted) in [
        ("sql", "", "SELECT 1 -- s.t", Ok("SELECT 1 -- s.t")),
        ("sql", "", "select count(*) from S.Same", Ok("select count(*) from \"n\".\"same\"")),
        ("plpgsql", "", "BEGIN /* t */ RETURN s.f(1); END", Ok("BEGIN /* t */ RETURN \"n\".\"f\"(1); END")),
        ("sql", "", "SELECT nextval('s.q')", Ok("SELECT nextval('\"n\".\"q\"')")),
        ("sql", "", "SELECT count(*) FROM s.t", Ok("SELECT count(*) FROM \"n\".\"u\"")),
        ("sql", "", "SELECT max(b) FROM s.t WHERE a > 1", Err("\"a\" may be the column of s.t")),
        ("sql", "", "SELECT max(a) FROM s.part", Err("whole rows of s.part")),
        ("sql", "", "SELECT count(*) FROM same", Err("\"same\" stands without its schema")),
        (
            "sql",
            " SET search_path TO 's', 'pg_temp'\n",
            "SELECT count(*) FROM same",
            Ok("SELECT count(*) FROM same"),
        ),
        (
            "sql",
            " SET search_path TO 's'\n",
            "SELECT count(*) FROM t",
            Err("\"t\" stands without its schema"),
        ),
        ("plpgsql", "", "BEGIN EXECUTE 'TABLE s.same'; END", Err("\"s\" stands in a string")),
        ("plpgsql", "", "BEGIN RETURN f(); END", Err("\"f\" is a function without its schema")),
        ("plpython3u", "", "return plpy.execute('select * from s.same')", Err("stands in a string")),
        ("plpython3u", "", "return 1", Ok("return 1")),
    ] {
        match (body(language, header, text), wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{text}"),
            (Err(found), Err(wanted)) => assert!(found.contains(wanted), "{text}: {found}"),
            (found, wanted) => panic!("{text}: {found:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn headers_and_paths_follow() {
    let statement = "CREATE FUNCTION s.f(a s.t, b integer DEFAULT s.g(1))\n RETURNS SETOF s.t\n LANGUAGE sql\n SET search_path TO 's', 'x'\nAS $function$SELECT 1$function$\n";
    let model =
        followed(vec![object("function", "f(a s.t, b integer)", statement)], v1::ExistingTables::Fail);
    let function = &model.objects[0];
    assert_eq!((&*function.schema, &*function.name), ("n", "f(a \"n\".\"u\", b integer)"));
    let wanted = "CREATE FUNCTION \"n\".\"f\"(a \"n\".\"u\", b integer DEFAULT \"n\".\"g\"(1))\n RETURNS SETOF \"n\".\"u\"\n LANGUAGE sql\n SET search_path TO 'n', 'x'\nAS $function$SELECT 1$function$\n";
    assert_eq!(function.statements, wanted);
}

#[test]
fn rules_and_triggers_follow_the_columns_of_their_rows() {
    let relation = Some(v1::TableName::new("s", "t"));
    let of_t = |kind: &str, name: &str, statements: &str| v1::SchemaObject {
        relation: relation.clone(),
        ..object(kind, name, statements)
    };
    for (kind, text, wanted) in [
        (
            "rule",
            "CREATE RULE r AS\n    ON INSERT TO s.t\n   WHERE (new.a > 1) DO  INSERT INTO s.t (a, b)\n  VALUES (new.a, new.b)",
            "CREATE RULE r AS\n    ON INSERT TO \"n\".\"u\"\n   WHERE (\"new\".\"x\" > 1) DO  INSERT INTO \"n\".\"u\" AS \"t\" (\"x\", \"b\")\n  VALUES (\"new\".\"x\", \"new\".\"b\")",
        ),
        (
            "rule",
            "CREATE RULE r AS ON DELETE TO s.t DO ( UPDATE s.t SET a = 1, b = t.a WHERE (t.a = old.a);\n DELETE FROM s.same WHERE (same.a = old.a);\n)",
            "CREATE RULE r AS ON DELETE TO \"n\".\"u\" DO ( UPDATE \"n\".\"u\" AS \"t\" SET \"x\" = 1, \"b\" = \"t\".\"x\" WHERE (\"t\".\"x\" = \"old\".\"x\");\n DELETE FROM \"n\".\"same\" WHERE (same.a = \"old\".\"x\");\n)",
        ),
        (
            "trigger",
            "CREATE TRIGGER g BEFORE UPDATE OF a, b ON s.t FOR EACH ROW WHEN ((old.a IS DISTINCT FROM new.a)) EXECUTE FUNCTION s.f('z')",
            "CREATE TRIGGER g BEFORE UPDATE OF \"x\", \"b\" ON \"n\".\"u\" FOR EACH ROW WHEN ((\"old\".\"x\" IS DISTINCT FROM \"new\".\"x\")) EXECUTE FUNCTION \"n\".\"f\"('z')",
        ),
        (
            "policy",
            "CREATE POLICY p ON s.t AS PERMISSIVE FOR ALL TO a USING ((a IN ( SELECT same.a FROM s.same WHERE (same.a = t.a)))) WITH CHECK ((a > 0))",
            "CREATE POLICY p ON \"n\".\"u\" AS PERMISSIVE FOR ALL TO a USING ((\"x\" IN ( SELECT same.a FROM \"n\".\"same\" WHERE (same.a = \"u\".\"x\")))) WITH CHECK ((\"x\" > 0))",
        ),
        (
            "statistics object",
            "CREATE STATISTICS s.stat (dependencies) ON a, b, lower(c) FROM s.t",
            "CREATE STATISTICS \"n\".\"stat\" (dependencies) ON \"x\", b, lower(c) FROM \"n\".\"u\"",
        ),
    ] {
        let model = followed(vec![of_t(kind, "t.name", text)], v1::ExistingTables::Fail);
        assert_eq!(model.objects.first().map(|it| &*it.statements), Some(wanted), "{:?}", model.skipped);
        assert_eq!(model.objects[0].relation, Some(v1::TableName::new("n", "u")));
    }
}

#[test]
fn what_needs_something_that_is_not_followed_is_not_either() {
    let used = v1::ColumnUse { relation_id: 2, column: "gone".into() };
    let lacking = v1::SchemaObject {
        column_uses: vec![used],
        ..object("view", "v", "CREATE VIEW s.v AS\n SELECT part.gone FROM s.part")
    };
    let over = object("view", "over", "CREATE VIEW s.over AS\n SELECT v.gone FROM s.v");
    let function = object(
        "function",
        "g()",
        "CREATE FUNCTION s.g()\n RETURNS bigint\n LANGUAGE sql\nBEGIN ATOMIC\n SELECT count(*) FROM s.over;\nEND\n",
    );
    let model = followed(vec![lacking, over, function], v1::ExistingTables::Fail);
    assert!(model.objects.is_empty());
    let details: Vec<&str> =
        model.skipped.iter().map(|it| it.detail.rsplit(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        details,
        [
            "it needs column gone of s.part, which the task leaves out",
            "it needs s.v, which is not followed",
            "it needs s.over, which is not followed"
        ]
    );
}
