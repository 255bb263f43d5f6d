//! Deparsed texts and what becomes of them.

use std::collections::{BTreeMap, HashMap};

use strait_proto::v1::{self, NameCase};

use super::super::names::ExtensionMembers;
use super::super::{ColumnMap, Mapping};
use super::*;

fn names() -> Names {
    let rename = |schema: &str, table: &str| {
        let rename = v1::Rename { schema: schema.into(), table: table.into(), ..Default::default() };
        Some(v1::TableOptions { rename: Some(rename), ..Default::default() })
    };
    let pattern = |schema: &str, table: &str, options| v1::ObjectPattern {
        schema: schema.into(),
        table: table.into(),
        options,
    };
    let objects = v1::ObjectSelection {
        include: vec![pattern("old s", "", rename("new", "")), pattern("old s", "t", rename("", "T2"))],
        ..Default::default()
    };
    let mapping = Mapping::new(Some(&v1::TaskSpec { objects: Some(objects), ..Default::default() }));
    let table = v1::Table { schema: "old s".into(), name: "t".into(), ..Default::default() };
    let model = v1::SchemaModel { tables: vec![table], ..Default::default() };
    Names::new(&mapping, &model, ExtensionMembers::default(), &HashMap::new())
}

fn columns(only: &[&str]) -> ColumnMap {
    let renamed = [
        ("a", "A 1"),
        ("name", "named"),
        ("day", "at_day"),
        ("lower", "low"),
        ("C", "see"),
        ("text_ops", "tops"),
    ];
    let renamed: BTreeMap<String, String> = renamed.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
    ColumnMap::new(only.iter().map(|it| (*it).to_owned()).collect(), renamed, NameCase::Source)
}

fn rewritten(text: &str, only: &[&str]) -> Result<String, Refusal> {
    let columns = columns(only);
    rewrite(text, &names(), Some(&Scope { table: "t", target: "T2", columns: &columns }))
}

#[test]
fn columns_and_nothing_else_get_their_names() {
    for (text, wanted) in [
        ("CHECK ((a > 0))", r#"CHECK (("A 1" > 0))"#),
        ("CHECK ((other > 0))", "CHECK ((other > 0))"),
        (r#"CHECK (("C" <> 'a'::text))"#, r#"CHECK (("see" <> 'a'::text))"#),
        ("lower((name)::text)", r#"lower(("named")::text)"#),
        ("(lower || a)", r#"("low" || "A 1")"#),
        ("EXTRACT(day FROM day)", r#"EXTRACT(day FROM "at_day")"#),
        ("'1 day'::interval day to second(3) + day", r#"'1 day'::interval day to second(3) + "at_day""#),
        ("(a)::name = name", r#"("A 1")::name = "named""#),
        ("(name).a", r#"("named").a"#),
        ("pg_catalog.lower(a)", r#"pg_catalog.lower("A 1")"#),
        (
            r#"USING btree (name COLLATE "C" text_ops DESC, a) INCLUDE (day) WITH (a='1')"#,
            r#"USING btree ("named" COLLATE "C" text_ops DESC, "A 1") INCLUDE ("at_day") WITH (a='1')"#,
        ),
        (
            "USING gist (a WITH =) WHERE (name IS NULL)",
            r#"USING gist ("A 1" WITH =) WHERE ("named" IS NULL)"#,
        ),
        (
            "EXCLUDE USING gist (a WITH OPERATOR(\"old s\".=))",
            r#"EXCLUDE USING gist ("A 1" WITH OPERATOR("new".=))"#,
        ),
        ("(t.* IS NOT NULL)", r#"("T2".* IS NOT NULL)"#),
        (r#"nextval('"old s".q'::regclass)"#, r#"nextval('"new"."q"'::regclass)"#),
        (r#"'"old s".t'::regclass"#, r#"'"new"."T2"'::regclass"#),
        (r#"'"old s".t'::text"#, r#"'"old s".t'::text"#),
        (r#"'"old s"'::regnamespace"#, r#"'"new"'::regnamespace"#),
        (r#""old s".f(a => name)"#, r#""new"."f"(a => "named")"#),
        (r#"(x)::"old s".mood[]"#, r#"(x)::"new"."mood"[]"#),
        (r"E'a\\ name' || a", r#"E'a\\ name' || "A 1""#),
        (
            "CASE WHEN (a IS NULL) THEN name ELSE NULL::text END",
            r#"CASE WHEN ("A 1" IS NULL) THEN "named" ELSE NULL::text END"#,
        ),
        ("(day AT TIME ZONE 'UTC'::text)", r#"("at_day" AT TIME ZONE 'UTC'::text)"#),
        ("PRIMARY KEY (a, name)", r#"PRIMARY KEY ("A 1", "named")"#),
    ] {
        assert_eq!(rewritten(text, &[]).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn what_is_left_out_is_refused() {
    for (text, wanted) in [
        ("(a > 0)", Ok(r#"("A 1" > 0)"#.to_owned())),
        ("(b > a)", Err(Refusal::LeftOut("b".into()))),
        ("(t.* IS NULL)", Err(Refusal::WholeRow)),
        ("(f(a) > 'b')", Ok(r#"(f("A 1") > 'b')"#.to_owned())),
    ] {
        assert_eq!(rewritten(text, &["a"]), wanted, "{text}");
    }
}

#[test]
fn a_foreign_key_has_columns_of_two_tables() {
    let own = columns(&[]);
    let other =
        ColumnMap::new(Vec::new(), BTreeMap::from([("a".to_owned(), "z".to_owned())]), NameCase::Source);
    let text = r#"FOREIGN KEY (a, name) REFERENCES "old s".t(a, name) ON DELETE SET NULL (a)"#;
    let rewritten = rewrite_foreign_key(
        text,
        &names(),
        &Scope { table: "x", target: "x", columns: &own },
        &Scope { table: "t", target: "T2", columns: &other },
    );
    let wanted =
        r#"FOREIGN KEY ("A 1", "named") REFERENCES "new"."T2"("z", name) ON DELETE SET NULL ("A 1")"#;
    assert_eq!(rewritten.as_deref(), Ok(wanted));
}
