//! The statements that change rows: for many rows at once, from one `text[]` per column or from a stage, or for one row,
//! from one text per column. The same builders make all.
//!
//! Parameters come in a fixed order: what finds the row (the lookup's columns), then what it is set to.

use super::relation::{Lookup, LookupBy};
use super::target::{Target, UniqueIndex};

/// Where the rows of a set come with a count each, the column that has it.
pub(super) const COUNT: &str = "n";
/// And the one that numbers them.
pub(super) const NUMBER: &str = "i";

/// How a statement gets its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// `unnest($1::text[], …) AS s (c1, …)`
    Rows,
    /// A table of that name with columns `c1`, … of the types of the columns that they are for: no parameters.
    Stage(&'a str),
    /// `$1::text`, …
    One,
}

impl Form<'_> {
    /// The value of parameter `number`, from 1, as a text.
    fn text(self, number: usize) -> String {
        match self {
            Self::Rows | Self::Stage(_) => format!("s.c{number}"),
            Self::One => format!("${number}::text"),
        }
    }

    /// The same as the type of a column.
    pub(super) fn value(self, number: usize, target: &Target, column: usize) -> String {
        match target.columns[column].sql_type.as_str() {
            "text" => self.text(number),
            _ if matches!(self, Self::Stage(_)) => self.text(number),
            sql_type => format!("{}::{sql_type}", self.text(number)),
        }
    }

    /// The item of a FROM or USING clause that `keyword` introduces; nothing for a single row.
    fn source(self, keyword: &str, count: usize) -> String {
        match self {
            Self::Rows => format!(" {keyword} {} AS s ({})", unnest(count), names(count)),
            Self::Stage(stage) => format!(" {keyword} {stage} AS s"),
            Self::One => String::new(),
        }
    }
}

/// Inserts rows. One whose values in the unique columns `keys` exist already overwrites that row; of many, it is left
/// out, so that the count tells that they have to be written one by one.
///
/// Parameters: the columns.
pub(crate) fn insert(target: &Target, columns: &[usize], keys: Option<&[usize]>, form: Form<'_>) -> String {
    if columns.is_empty() {
        return format!("INSERT INTO {} DEFAULT VALUES", target.sql_name);
    }
    let values = select_list(target, columns, form);
    let source = form.source("FROM", columns.len());
    let mut statement = insert_into(target, columns);
    statement += &format!(" SELECT {values}{source}");
    if let Some(keys) = keys {
        let others = columns.iter().filter(|column| !keys.contains(column));
        let set = list(others.map(|column| {
            let name = &target.columns[*column].sql_name;
            format!("{name} = EXCLUDED.{name}")
        }));
        let overwrites = form == Form::One && !set.is_empty();
        let action = if overwrites { format!("UPDATE SET {set}") } else { "NOTHING".to_owned() };
        let keys = list(keys.iter().map(|column| target.columns[*column].sql_name.clone()));
        statement += &format!(" ON CONFLICT ({keys}) DO {action}");
    }
    statement
}

/// Inserts rows that come in COPY's text format.
pub(crate) fn copy(target: &Target, columns: &[usize]) -> String {
    let names = list(columns.iter().map(|column| target.columns[*column].sql_name.clone()));
    format!("COPY {} ({names}) FROM STDIN", target.sql_name)
}

/// Inserts rows of a table without a key, each as often as its count says.
///
/// Parameters: the columns, then the counts as `bigint[]`.
pub(crate) fn insert_copies(target: &Target, columns: &[usize], form: Form<'_>) -> String {
    let values = select_list(target, columns, form);
    let source = match form {
        Form::Stage(stage) => format!("{stage} AS s"),
        Form::Rows | Form::One => counted(columns.len()),
    };
    format!("{} SELECT {values} FROM {source}, generate_series(1, s.{COUNT})", insert_into(target, columns))
}

/// Deletes the rows that the lookup finds.
///
/// Parameters: the lookup's columns.
pub(crate) fn delete(target: &Target, lookup: &Lookup, form: Form<'_>) -> String {
    let source = form.source("USING", lookup.columns.len());
    format!("DELETE FROM {} AS t{source} WHERE {}", target.only(), matches(target, lookup, "t", 1, form))
}

/// Deletes copies of rows of a table without a key, as many as each count says and there are.
///
/// Parameters: the columns, then the counts as `bigint[]`.
pub(crate) fn delete_copies(target: &Target, columns: &[usize], form: Form<'_>) -> String {
    let (only, count) = (target.only(), columns.len());
    let stands = row_text(columns.iter().map(|column| format!("t.{}", target.columns[*column].sql_name)));
    let wanted = row_text(values(target, columns, 1, form));
    if let Form::Stage(stage) = form {
        // Each segment numbers its rows for itself.
        return format!(
            "DELETE FROM {only} AS d WHERE (d.gp_segment_id, d.ctid) IN (SELECT m.segment, m.id FROM \
             (SELECT t.gp_segment_id AS segment, t.ctid AS id, s.{COUNT}, \
             row_number() OVER (PARTITION BY s.{NUMBER}) AS copy \
             FROM {only} AS t JOIN {stage} AS s ON {stands} = {wanted}) AS m WHERE m.copy <= m.{COUNT})"
        );
    }
    format!(
        "DELETE FROM {only} AS d WHERE d.ctid = ANY (ARRAY(SELECT m.id FROM \
         (SELECT t.ctid AS id, s.{COUNT}, row_number() OVER (PARTITION BY s.{NUMBER}) AS copy \
         FROM {only} AS t JOIN {} WITH ORDINALITY AS s ({}) ON {stands} = {wanted}) AS m \
         WHERE m.copy <= m.{COUNT}))",
        unnest_counted(count),
        list((1..=count).map(|number| format!("c{number}")).chain([COUNT.to_owned(), NUMBER.to_owned()])),
    )
}

/// Selects `what` of the rows `t` that the lookup finds.
///
/// Parameters: the lookup's columns.
pub(crate) fn find(target: &Target, lookup: &Lookup, what: &str) -> String {
    format!("SELECT {what} FROM {} AS t WHERE {}", target.only(), matches(target, lookup, "t", 1, Form::One))
}

/// Sets columns of the rows that the lookup finds. Where UPDATE cannot set one of them, the row is taken out
/// and put in again with what it had in the others.
///
/// Parameters: the lookup's columns, then the columns set.
pub(crate) fn update(target: &Target, lookup: &Lookup, set: &[usize], form: Form<'_>) -> String {
    let keys = lookup.columns.len();
    let found = matches(target, lookup, "t", 1, form);
    if set.iter().any(|column| target.columns[*column].identity_always) {
        return rewrite(target, keys, set, &found, form);
    }
    let new = values(target, set, keys + 1, form);
    let assignments = list(
        set.iter().zip(new).map(|(column, value)| format!("{} = {value}", target.columns[*column].sql_name)),
    );
    let source = form.source("FROM", keys + set.len());
    format!("UPDATE {} AS t SET {assignments}{source} WHERE {found}", target.only())
}

fn rewrite(target: &Target, keys: usize, set: &[usize], found: &str, form: Form<'_>) -> String {
    let writable = writable(target);
    let old = writable.iter().map(|column| format!("t.{} AS t{column}", target.columns[*column].sql_name));
    let new = set
        .iter()
        .enumerate()
        .filter(|_| form == Form::Rows)
        .map(|(place, _)| format!("s.c{}", keys + 1 + place));
    let returning = list(old.chain(new));
    let selected =
        list(writable.iter().map(|column| match set.iter().position(|candidate| candidate == column) {
            None => format!("gone.t{column}"),
            Some(place) => {
                let value = form.value(keys + 1 + place, target, *column);
                if form == Form::Rows { value.replacen("s.", "gone.", 1) } else { value }
            }
        }));
    let source = form.source("USING", keys + set.len());
    format!(
        "WITH gone AS (DELETE FROM {} AS t{source} WHERE {found} RETURNING {returning}) \
         {} SELECT {selected} FROM gone",
        target.only(),
        insert_into(target, &writable)
    )
}

/// The same where UPDATE will not do at all and no statement may write twice (the Greenplum family), in four statements:
/// keep the rows with what they become, delete them, put them in again, and forget them. Where a row is missing the second one
/// tells by its count. `kept` is a table with the columns that [`writable`] names.
///
/// Parameters: of the first one, as of [`update`]; of the second one, the lookup's columns.
pub(crate) fn rewrite_apart(
    target: &Target,
    lookup: &Lookup,
    set: &[usize],
    form: Form<'_>,
    kept: &str,
) -> [String; 4] {
    let keys = lookup.columns.len();
    let columns = writable(target);
    let becomes =
        list(columns.iter().map(|column| match set.iter().position(|candidate| candidate == column) {
            None => format!("t.{}", target.columns[*column].sql_name),
            Some(place) => form.value(keys + 1 + place, target, *column),
        }));
    let stage = match form {
        Form::Stage(stage) => format!(", {stage} AS s"),
        Form::Rows | Form::One => String::new(),
    };
    let found = matches(target, lookup, "t", 1, form);
    [
        format!("INSERT INTO {kept} SELECT {becomes} FROM {} AS t{stage} WHERE {found}", target.only()),
        delete(target, lookup, form),
        format!("{} SELECT * FROM {kept}", insert_into(target, &columns)),
        format!("DELETE FROM {kept}"),
    ]
}

/// The columns that can be written.
pub(crate) fn writable(target: &Target) -> Vec<usize> {
    (0..target.columns.len()).filter(|column| !target.columns[*column].generated).collect()
}

/// Deletes rows other than the one that is about to be written which have its values in a unique index.
///
/// Parameters: the index' columns; then, where there is a lookup, its columns as they find the row itself.
/// With `existing` nothing is deleted unless that row is there.
pub(crate) fn displace(target: &Target, index: &UniqueIndex, own: Option<&Lookup>, existing: bool) -> String {
    let taken = index_matches(target, index, "t");
    let mut statement = format!("DELETE FROM {} AS t WHERE {taken}", target.only());
    if let Some(lookup) = own {
        let first = index.columns.len() + 1;
        statement += &format!(" AND NOT ({})", matches(target, lookup, "t", first, Form::One));
        if existing {
            let own = matches(target, lookup, "o", first, Form::One);
            statement += &format!(" AND EXISTS (SELECT FROM {} AS o WHERE {own})", target.only());
        }
    }
    statement
}

fn index_matches(target: &Target, index: &UniqueIndex, alias: &str) -> String {
    let parts = index.columns.iter().zip(&index.operators).enumerate().map(|(place, (column, operator))| {
        let stands = format!("{alias}.{}", target.columns[*column].sql_name);
        let wanted = Form::One.value(place + 1, target, *column);
        let equal = format!("{stands} {operator} {wanted}");
        if index.nulls_equal {
            format!("({equal} OR (num_nulls({stands}) = 1 AND num_nulls({wanted}) = 1))")
        } else {
            equal
        }
    });
    parts.collect::<Vec<_>>().join(" AND ")
}

/// The condition that `alias` is the row which the lookup's parameters, from number `first`, name.
pub(super) fn matches(target: &Target, lookup: &Lookup, alias: &str, first: usize, form: Form<'_>) -> String {
    let wanted = values(target, &lookup.columns, first, form);
    let stands = |alias: &str| {
        let names =
            lookup.columns.iter().map(|column| format!("{alias}.{}", target.columns[*column].sql_name));
        names.collect::<Vec<_>>()
    };
    match lookup.by {
        LookupBy::Index | LookupBy::Columns => {
            let parts = stands(alias).into_iter().zip(&lookup.operators).zip(wanted);
            parts
                .map(|((stands, operator), wanted)| format!("{stands} {operator} {wanted}"))
                .collect::<Vec<_>>()
                .join(" AND ")
        }
        LookupBy::Text => format!("{} = {}", row_text(stands(alias)), row_text(wanted)),
        // One of several equal rows, the same one for all statements of a change. A partitioned table's rows are found by
        // their partition as well, and those of the family by their segment.
        LookupBy::WholeRow => {
            let segment = target.distribution.is_some();
            let place = |alias: &str| {
                let segment = if segment { format!("{alias}.gp_segment_id, ") } else { String::new() };
                format!("{segment}{alias}.tableoid, {alias}.ctid")
            };
            let order = if segment { format!(" ORDER BY {}", place("x")) } else { String::new() };
            format!(
                "({}) = (SELECT {} FROM {} AS x WHERE {} = {}{order} LIMIT 1)",
                place(alias),
                place("x"),
                target.only(),
                row_text(stands("x")),
                row_text(wanted)
            )
        }
    }
}

/// Values as an array of what their types' output functions print, compared byte by byte: serves every type,
/// tells 1.0 from 1.00, and NULL equals NULL.
///
/// A cast to text would not do: `bpchar` loses blanks, `inet` its mask. `num_nulls` instead of IS NULL, which
/// is true for a composite value of NULLs.
fn row_text(values: impl IntoIterator<Item = String>) -> String {
    let printed = values
        .into_iter()
        .map(|value| format!("CASE num_nulls({value}) WHEN 0 THEN concat({value}) COLLATE \"C\" END"));
    format!("ARRAY[{}]::text[]", list(printed))
}

fn values(target: &Target, columns: &[usize], first: usize, form: Form<'_>) -> Vec<String> {
    columns.iter().enumerate().map(|(place, column)| form.value(first + place, target, *column)).collect()
}

fn select_list(target: &Target, columns: &[usize], form: Form<'_>) -> String {
    list(values(target, columns, 1, form))
}

fn insert_into(target: &Target, columns: &[usize]) -> String {
    if columns.is_empty() {
        return format!("INSERT INTO {}", target.sql_name);
    }
    let names = list(columns.iter().map(|column| target.columns[*column].sql_name.clone()));
    format!("INSERT INTO {} ({names}) OVERRIDING SYSTEM VALUE", target.sql_name)
}

fn unnest(count: usize) -> String {
    format!("unnest({})", list((1..=count).map(|number| format!("${number}::text[]"))))
}

fn unnest_counted(count: usize) -> String {
    let texts = (1..=count).map(|number| format!("${number}::text[]"));
    format!("unnest({})", list(texts.chain([format!("${}::bigint[]", count + 1)])))
}

fn counted(count: usize) -> String {
    let names = (1..=count).map(|number| format!("c{number}")).chain([COUNT.to_owned()]);
    format!("{} AS s ({})", unnest_counted(count), list(names))
}

fn names(count: usize) -> String {
    list((1..=count).map(|number| format!("c{number}")))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::{column, target};
    use super::*;

    fn by_index(columns: &[usize]) -> Lookup {
        Lookup {
            by: LookupBy::Index,
            columns: columns.to_vec(),
            operators: vec!["OPERATOR(pg_catalog.=)".to_owned(); columns.len()],
        }
    }

    #[test]
    fn rows_are_written_in_sets_from_one_array_per_column() {
        let table = target(&[column("id", "integer"), column("name", "text")]);
        assert_eq!(
            insert(&table, &[0, 1], Some(&[0]), Form::Rows),
            "INSERT INTO \"public\".\"t\" (\"id\", \"name\") OVERRIDING SYSTEM VALUE \
             SELECT s.c1::integer, s.c2 FROM unnest($1::text[], $2::text[]) AS s (c1, c2) \
             ON CONFLICT (\"id\") DO NOTHING"
        );
        assert_eq!(
            update(&table, &by_index(&[0]), &[1], Form::Rows),
            "UPDATE ONLY \"public\".\"t\" AS t SET \"name\" = s.c2 \
             FROM unnest($1::text[], $2::text[]) AS s (c1, c2) \
             WHERE t.\"id\" OPERATOR(pg_catalog.=) s.c1::integer"
        );
        assert_eq!(
            delete(&table, &by_index(&[0]), Form::Rows),
            "DELETE FROM ONLY \"public\".\"t\" AS t USING unnest($1::text[]) AS s (c1) \
             WHERE t.\"id\" OPERATOR(pg_catalog.=) s.c1::integer"
        );
    }

    #[test]
    fn the_same_for_a_single_row() {
        let table = target(&[column("id", "integer"), column("name", "text")]);
        assert_eq!(
            update(&table, &by_index(&[0]), &[0, 1], Form::One),
            "UPDATE ONLY \"public\".\"t\" AS t SET \"id\" = $2::text::integer, \"name\" = $3::text \
             WHERE t.\"id\" OPERATOR(pg_catalog.=) $1::text::integer"
        );
    }

    #[test]
    fn a_row_of_nothing_but_its_key_is_inserted_once() {
        let table = target(&[column("id", "integer")]);
        let statement = insert(&table, &[0], Some(&[0]), Form::One);
        assert!(statement.ends_with("ON CONFLICT (\"id\") DO NOTHING"), "{statement}");
    }

    #[test]
    fn an_identity_that_update_cannot_set_is_put_in_anew_with_the_rest_of_the_row() {
        let mut table = target(&[column("id", "integer"), column("name", "text"), column("local", "text")]);
        table.columns[0].identity_always = true;
        assert_eq!(
            update(&table, &by_index(&[0]), &[0], Form::Rows),
            "WITH gone AS (DELETE FROM ONLY \"public\".\"t\" AS t \
             USING unnest($1::text[], $2::text[]) AS s (c1, c2) \
             WHERE t.\"id\" OPERATOR(pg_catalog.=) s.c1::integer \
             RETURNING t.\"id\" AS t0, t.\"name\" AS t1, t.\"local\" AS t2, s.c2) \
             INSERT INTO \"public\".\"t\" (\"id\", \"name\", \"local\") OVERRIDING SYSTEM VALUE \
             SELECT gone.c2::integer, gone.t1, gone.t2 FROM gone"
        );
    }
}
