//! Which statements a batch becomes, in which order.

use strait_proto::Lsn;

use super::super::change::ChangeKind;
use super::super::relation::tests::{definition, keyed, keyless};
use super::super::target::Distribution;
use super::super::target::tests::{column, target};
use super::super::tuple::tests::tuple;
use super::*;
use strait_proto::v1::{self, ReplicaIdentity};

fn insert(relation: &Arc<Relation>, id: &str, name: &str) -> Operation {
    let kind = ChangeKind::Insert { new: tuple(&[Some(id), Some(name)]) };
    Operation::Row(Change { relation: Arc::clone(relation), kind, commit_lsn: Lsn(1) })
}

fn update(relation: &Arc<Relation>, id: &str, name: &str) -> Operation {
    let kind = ChangeKind::Update { old: None, new: tuple(&[Some(id), Some(name)]) };
    Operation::Row(Change { relation: Arc::clone(relation), kind, commit_lsn: Lsn(1) })
}

fn delete(relation: &Arc<Relation>, id: &str, name: &str) -> Operation {
    let kind = ChangeKind::Delete { old: tuple(&[Some(id), Some(name)]) };
    Operation::Row(Change { relation: Arc::clone(relation), kind, commit_lsn: Lsn(1) })
}

fn truncate() -> Operation {
    let tables = vec![TableName::new("public", "t")];
    Operation::Truncate(Truncation { tables, conditions: Vec::new(), restart_identity: false })
}

/// Each step's first word and what it expects: `DELETE 2`, `INSERT 1`, `rows 3`, `TRUNCATE`.
fn planned(operations: &[Operation]) -> Vec<String> {
    let steps = plan(operations, &Exceptions::default()).unwrap();
    let words = steps.iter().map(|step| match step {
        Step::Set(statement) => {
            let word = statement.text.split(' ').next().unwrap();
            let expected = statement.expected.map_or("any".to_owned(), |rows| rows.to_string());
            format!("{word} {expected}")
        }
        Step::Staged(staged) => {
            let rows = staged.rows.concat().iter().filter(|byte| **byte == b'\n').count();
            let word = |text: &str| text.split(' ').next().unwrap().to_owned();
            let words: Vec<String> = staged.statements.iter().map(|(text, _)| word(text)).collect();
            format!("{rows} staged: {}", words.join(" "))
        }
        Step::Copy(copy) => {
            format!("COPY {}", copy.data.concat().iter().filter(|byte| **byte == b'\n').count())
        }
        Step::Rows(changes) => format!("rows {}", changes.len()),
        Step::Truncate(_) => "TRUNCATE".to_owned(),
        Step::Suspend(suspension) => format!("suspend {}", suspension.table),
    });
    words.collect()
}

#[test]
fn a_stage_deletes_then_updates_then_inserts() {
    let table = keyed();
    let operations = [
        insert(&table, "1", "a"),
        update(&table, "2", "b"),
        delete(&table, "3", "c"),
        insert(&table, "4", "d"),
        delete(&table, "4", "d"),
        delete(&table, "5", "e"),
    ];
    assert_eq!(planned(&operations), ["DELETE 2", "DELETE any", "UPDATE 1", "INSERT 1"]);
}

#[test]
fn updates_that_set_the_same_columns_share_a_statement() {
    let table = keyed();
    let operations = [update(&table, "1", "a"), update(&table, "2", "…"), update(&table, "3", "c")];
    // Of the second nothing but the key is known: there is nothing to set.
    assert_eq!(planned(&operations), ["UPDATE 2"]);
}

#[test]
fn a_truncate_is_seen_by_all_that_surrounds_it() {
    let table = keyed();
    let operations = [insert(&table, "1", "a"), truncate(), insert(&table, "1", "b")];
    assert_eq!(planned(&operations), ["INSERT 1", "TRUNCATE", "INSERT 1"]);
}

#[test]
fn rows_without_a_key_are_counted() {
    let table = keyless();
    let operations = [
        insert(&table, "1", "a"),
        insert(&table, "1", "a"),
        delete(&table, "2", "b"),
        delete(&table, "2", "b"),
    ];
    assert_eq!(planned(&operations), ["DELETE 2", "INSERT any"]);
    let steps = plan(&operations, &Exceptions::default()).unwrap();
    let Step::Set(statement) = &steps[0] else { panic!("{steps:?}") };
    assert!(statement.hash_join);
    assert_eq!(statement.parameters.len(), 3, "two columns and the counts");
}

#[test]
fn rows_without_a_key_beside_local_columns_go_one_by_one() {
    let columns = [column("id", "integer"), column("name", "text"), column("local", "text")];
    let definition = definition(&["id*", "name*"], ReplicaIdentity::Full);
    let relation = Arc::new(Relation::resolve(&definition, Arc::new(target(&columns))).unwrap());
    let operations = [insert(&relation, "1", "a"), delete(&relation, "1", "a")];
    assert_eq!(planned(&operations), ["rows 2"]);
}

#[test]
fn a_table_that_changes_its_shape_is_folded_anew() {
    let (before, after) = (keyless(), keyed());
    let operations = [insert(&before, "1", "a"), insert(&after, "1", "b")];
    assert_eq!(planned(&operations), ["INSERT any", "INSERT 1"]);
}

#[test]
fn only_the_tables_that_need_it_go_one_by_one() {
    let table = keyed();
    let operations = [insert(&table, "1", "a"), delete(&table, "2", "b")];
    let in_order = |name: TableName| Exceptions { in_order: HashSet::from([name]), ..Exceptions::default() };
    let steps = plan(&operations, &in_order(table.target.name.clone())).unwrap();
    let [Step::Rows(changes)] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(changes.len(), 2);
    let others = in_order(v1::TableName::new("public", "another"));
    assert!(plan(&operations, &others).unwrap().iter().all(|step| matches!(step, Step::Set(_))));
}

#[test]
fn many_new_rows_are_copied_in_unless_they_may_be_there_already() {
    let table = keyed();
    let names: Vec<String> = (0..COPY_ROWS_MIN).map(|id| id.to_string()).collect();
    let operations: Vec<Operation> = names.iter().map(|id| insert(&table, id, "a")).collect();
    assert_eq!(planned(&operations), [format!("COPY {COPY_ROWS_MIN}")]);
    assert_eq!(planned(&operations[1..]), [format!("INSERT {}", COPY_ROWS_MIN - 1)]);
    let overwritten = HashSet::from([table.target.name.clone()]);
    let steps = plan(&operations, &Exceptions { overwritten, ..Exceptions::default() }).unwrap();
    assert!(matches!(&steps[..], [Step::Set(_)]), "{steps:?}");
}

#[test]
fn rows_without_a_key_are_copied_in_as_often_as_they_came() {
    let table = keyless();
    let operations: Vec<Operation> = (0..2 * COPY_ROWS_MIN)
        .map(|number| insert(&table, &(number % COPY_ROWS_MIN).to_string(), "a"))
        .collect();
    assert_eq!(planned(&operations), [format!("COPY {}", 2 * COPY_ROWS_MIN)]);
}

/// The table of [`keyed`] and the one of [`keyless`] as the Greenplum family has them.
fn in_the_family(relation: &Arc<Relation>, key: Vec<usize>) -> Arc<Relation> {
    let mut target = (*relation.target).clone();
    target.distribution = Some(Distribution::Key(key));
    Arc::new(Relation { target: Arc::new(target), ..(**relation).clone() })
}

#[test]
fn the_family_gets_its_rows_by_way_of_stages() {
    let by_id = in_the_family(&keyed(), vec![0]);
    let operations = [
        insert(&by_id, "1", "a"),
        update(&by_id, "2", "b"),
        delete(&by_id, "3", "c"),
        delete(&by_id, "4", "d"),
    ];
    assert_eq!(planned(&operations), ["2 staged: DELETE", "1 staged: UPDATE", "1 staged: INSERT"]);
    // What rows lie by is not updated.
    let by_name = in_the_family(&keyed(), vec![1]);
    let operations = [update(&by_name, "2", "b")];
    assert_eq!(planned(&operations), ["1 staged: INSERT DELETE INSERT DELETE"]);
    let loose = in_the_family(&keyless(), vec![0]);
    let operations = [insert(&loose, "1", "a"), insert(&loose, "1", "a"), delete(&loose, "2", "b")];
    assert_eq!(planned(&operations), ["1 staged: DELETE", "COPY 2"]);
}
