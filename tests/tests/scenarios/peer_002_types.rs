//! 002_types: values of every sort arrive as the source prints them, through the copy and through changes.

use anyhow::{Result, ensure};
use strait_tests::scenario::Scenario;

const TYPES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'with ''quote', 'Großartig');
    CREATE TYPE pair AS (a int, b text, c double precision);
    CREATE TYPE nested AS (p pair, m mood, tags text[]);
    CREATE TYPE text_range AS RANGE (subtype = text);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN positive_list AS positive[] DEFAULT '{1}'";

/// Table, columns, and rows of it. The rows are copied first, then inserted again, updated and deleted.
const TABLES: &[(&str, &str, &[&str])] = &[
    (
        "arrays",
        "a int[], b text[], c numeric[][], d int[]",
        &[
            "'{1,2,3}', '{a,\"b,c\",NULL,\"NULL\",\"\"}', '{{1.1,2},{NaN,4}}', '[2:3]={7,8}'",
            "'{}', '{\"qu\\\"ote\",\"back\\\\slash\"}', NULL, NULL",
        ],
    ),
    ("enums", "a mood, b mood[]", &["'happy', '{sad,\"with ''quote\",NULL}'", "'Großartig', '{}'"]),
    (
        "composites",
        "a pair, b pair[], c nested, d nested[]",
        &[
            "ROW(1, 'one, (two)', 'NaN'), ARRAY[ROW(1, NULL, 2.5)::pair, NULL], ROW(ROW(1, '\"', -0.0), 'ok', '{x}'), NULL",
            "NULL, '{}', ROW(NULL, NULL, NULL), ARRAY[ROW(NULL, 'sad', '{\"a b\"}')::nested]",
        ],
    ),
    (
        "ranges",
        "a int4range, b numrange, c tstzrange, d text_range, e int8range[], f daterange, g int4multirange",
        &[
            "'[1,10)', '(1.5,)', '[2020-01-01 00:00+00,2021-01-01 00:00+05:30)', '[a,\"z,\")', '{\"[1,2)\",empty}', '[,infinity)', '{[1,3),[7,9)}'",
            "'empty', '(,)', '(,2000-01-01 00:00+00]', NULL, '{}', '[2020-02-29,2020-03-01]', '{}'",
        ],
    ),
    (
        "domains",
        "a positive, b positive_list, c positive[]",
        &["1, '{2,3}', '{4}'", "2147483647, NULL, '{}'"],
    ),
    (
        "numbers",
        "a smallint, b int, c bigint, d numeric, e numeric(10,3), f real, g double precision, h money",
        &[
            "-32768, -2147483648, -9223372036854775808, 'NaN', 1234567.891, '-Infinity', 5e-324, '-12.34'",
            "32767, 2147483647, 9223372036854775807, 1e-1000, -0.001, 1.17549435e-38, 1.7976931348623157e308, 92233720368547758.07::numeric::money",
            "0, 0, 0, 123456789012345678901234567890.000000000000000000001, 0, '-0', 0.1::float8 + 0.2::float8, 0",
        ],
    ),
    (
        "times",
        "a timestamp, b timestamptz, c date, d time, e timetz, f interval, g timestamp(0), h interval day to second(2)",
        &[
            "'infinity', '-infinity', 'infinity', '24:00', '23:59:59.999999-15:59', '-178000000 years', '2020-01-01 00:00:00.6', '1 12:00:01.239'",
            "'4713-01-01 00:00 BC', '4714-11-24 00:00+00 BC', '4714-11-24 BC', '00:00', '00:00+00', '1 mon -1 day 00:00:00.000001', NULL, NULL",
            "'294276-12-31 23:59:59.999999', '1900-01-01 00:00 Europe/Amsterdam', '5874897-12-31', '12:00:00.1', '12:00+05:45', '0', NULL, NULL",
        ],
    ),
    (
        "texts",
        "a text, b varchar(5), c char(5), d name, e \"char\", f text COLLATE \"C\"",
        &[
            "E'tab\\tnewline\\nreturn\\rback\\\\slash\\b\\f\\v', 'abcde', 'a  ', 'some_name', 'x', ''",
            "'\\N', '', '', '', '', '\\.'",
            "'😀 ünïcødé \u{feff}', 'ü', 'ü', 'Ünï', NULL, 'NULL'",
        ],
    ),
    (
        "bytes",
        "a bytea, b bit(4), c varbit, d uuid, e xml, f json, g jsonb",
        &[
            "'\\x00ff5c5c0a', B'1010', B'1', '00000000-0000-0000-0000-000000000000', '<a b=\"c\">&amp;</a>', '{\"a\":  1, \"a\": 2}', '{\"b\": null, \"a\": [1.00, \"\\\\u00fc\"]}'",
            "'', NULL, '', NULL, 'text', 'null', 'null'",
        ],
    ),
    (
        "network",
        "a inet, b cidr, c macaddr, d macaddr8",
        &[
            "'192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'",
            "'::ffff:1.2.3.4/128', '2001:db8::/32', NULL, NULL",
        ],
    ),
    (
        "shapes",
        "a point, b line, c lseg, d box, e path, f polygon, g circle",
        &[
            "'(1,2)', '{1,-1,0}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '<(0,0),1>'",
            "'(NaN,Infinity)', NULL, NULL, NULL, '((0,0))', NULL, NULL",
        ],
    ),
    (
        "search",
        "a tsvector, b tsquery, c hstore, d pg_lsn, e txid_snapshot",
        &[
            "'''a b'':1A c:2', '!a & (b | ''c d'':*)', '\"k\"=>\"v, =>\", \"n\"=>NULL', '16/B374D848', '10:20:10,14'",
            "'', '', '', '0/0', NULL",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_as_the_source_prints_it() -> Result<()> {
    let mut scenario = Scenario::new("p002_types").await?;
    // Strait does not carry extensions; the precheck asks for them.
    scenario.destination.run("CREATE EXTENSION hstore").await?;
    scenario.source.run("CREATE EXTENSION hstore").await?;
    scenario.source.run(TYPES).await?;
    for (table, columns, rows) in TABLES {
        for (name, key) in
            [(format!("{table}_keyed"), "id serial PRIMARY KEY, "), (format!("{table}_keyless"), "")]
        {
            scenario.source.run(&format!("CREATE TABLE {name} ({key}{columns})")).await?;
            insert(&scenario, &name, columns, rows).await?;
        }
    }
    scenario.start().await?;
    scenario.assert_equal().await?;

    for (table, columns, rows) in TABLES {
        let first = columns.split_whitespace().next().unwrap_or_default();
        let (keyed, keyless) = (format!("{table}_keyed"), format!("{table}_keyless"));
        for name in [&keyed, &keyless] {
            insert(&scenario, name, columns, rows).await?;
        }
        let source = &scenario.source;
        // Each of the second round becomes NULL somewhere, then one row goes, found by all of its values where there is no key.
        source.run(&format!("UPDATE {keyed} SET {first} = NULL WHERE id = {}", rows.len() + 1)).await?;
        source.run(&format!("UPDATE {keyed} SET id = -id")).await?;
        source.run(&format!("DELETE FROM {keyed} WHERE id = -1")).await?;
        source
            .run(&format!(
                "UPDATE {keyless} SET {first} = NULL WHERE ctid = (SELECT min(ctid) FROM {keyless})"
            ))
            .await?;
        source.run(&format!("DELETE FROM {keyless} WHERE ctid = (SELECT max(ctid) FROM {keyless})")).await?;
    }
    scenario.assert_equal().await?;
    ensure!(scenario.conflicts().await? == 0, "a row was not found by its values");
    scenario.finish().await
}

/// PostgreSQL's own example of a table that replication refuses: identity FULL with types that have no equality.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_equal_but_printed_differently_stay_apart() -> Result<()> {
    let mut scenario = Scenario::new("p002_printed").await?;
    scenario.source.run("CREATE TABLE t (n numeric, f float8, j json, c \"char\")").await?;
    let values = "(1.0, 0, '{}', 'a'), (1.00, '-0', '{}', 'a'), (1.000, 0, '{ }', 'a')";
    scenario.source.run(&format!("INSERT INTO t VALUES {values}")).await?;
    scenario.start().await?;
    scenario.source.run("DELETE FROM t WHERE n::text = '1.00'").await?;
    scenario.assert_arrived("SELECT n, f FROM t ORDER BY n::text", "1.0|0\n1.000|0").await?;
    scenario.source.run("UPDATE t SET n = 2 WHERE n::text = '1.000'").await?;
    scenario.assert_arrived("SELECT n, f FROM t ORDER BY n::text", "1.0|0\n2|0").await?;
    ensure!(scenario.conflicts().await? == 0);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_database_and_role_do_not_change_values() -> Result<()> {
    let mut scenario = Scenario::new("p002_settings").await?;
    for (database, settings) in [
        (
            &scenario.source,
            ["DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kathmandu'"],
        ),
        (
            &scenario.destination,
            ["DateStyle = 'German'", "IntervalStyle = 'iso_8601'", "TimeZone = 'America/St_Johns'"],
        ),
    ] {
        let name = database.name();
        let common = [
            "extra_float_digits = -15",
            "bytea_output = 'escape'",
            "search_path = 'nowhere'",
            "statement_timeout = '1ms'",
        ];
        for setting in settings.iter().chain(&common) {
            database.run(&format!("ALTER DATABASE {name} SET {setting}")).await?;
        }
    }
    let fill = "INSERT INTO public.t (d, i, z, f, b) SELECT '2020-04-03', '1 year 2 days -3:04', '2020-04-03 12:00+00', 0.1::float8 + 0.2, '\\x00ff'";
    scenario.source.run("CREATE TABLE public.t (id serial PRIMARY KEY, d date, i interval, z timestamptz, f float8, b bytea)").await?;
    scenario.source.run(fill).await?;
    scenario.start().await?;
    scenario.source.run(fill).await?;
    // The sessions of this test are older than the settings.
    scenario.assert_equal().await?;
    scenario.finish().await
}

async fn insert(scenario: &Scenario, table: &str, columns: &str, rows: &[&str]) -> Result<()> {
    // Column names stand first after each comma that no parenthesis encloses.
    let mut depth = 0;
    let top_level = columns.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let names: Vec<&str> = top_level.filter_map(|column| column.split_whitespace().next()).collect();
    for row in rows {
        scenario.source.run(&format!("INSERT INTO {table} ({}) VALUES ({row})", names.join(", "))).await?;
    }
    Ok(())
}
