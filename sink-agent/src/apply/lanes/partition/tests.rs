//! Which changes stay together, and that nothing that depends on each other is parted.

use proptest::prelude::*;
use strait_proto::Lsn;
use strait_proto::v1::ReplicaIdentity;

use super::super::super::change::Truncation;
use super::super::super::relation::tests::{definition, keyless};
use super::super::super::target::Target;
use super::super::super::target::tests::{column, target, unique};
use super::super::super::tuple::tests::tuple;
use super::super::keys::{Reference, TableKeys, key_id};
use super::*;

/// `public.NAME (id, name, parent)`, all integers, with unique `id` and `name`.
fn relation(table_id: u32, name: &str) -> Arc<Relation> {
    let mut table = target(&["id", "name", "parent"].map(|name| column(name, "integer")));
    table.name = TableName::new("public", name);
    table.unique = vec![unique(&[0], true), unique(&[1], false)];
    let mut definition = definition(&["id*", "name", "parent"], ReplicaIdentity::PrimaryKey);
    definition.table_id = table_id;
    Arc::new(Relation::resolve(&definition, Arc::new(table)).unwrap())
}

fn key(table: &TableName, named: &str, column: usize) -> Key {
    Key { id: key_id(table, &[named.to_owned()]), columns: vec![column], nulls_equal: false }
}

/// Of such a relation, whose `parent` refers to `id` of `parent`.
fn keys_of(relation: &Relation, parent: Option<&str>) -> TableKeys {
    let name = &relation.target.name;
    let mut keys = TableKeys::without_keys(&relation.target);
    keys.unique = vec![key(name, "id", 0), key(name, "name", 1)];
    let parent = parent.map(|parent| TableName::new("public", parent));
    keys.references.extend(parent.map(|parent| Reference {
        key: key(&parent, "id", 2),
        parent,
        serial: false,
    }));
    keys
}

fn keys(tables: impl IntoIterator<Item = TableKeys>) -> Keys {
    let mut keys = Keys::default();
    tables.into_iter().for_each(|table| keys.insert(table));
    keys
}

fn row(relation: &Arc<Relation>, kind: ChangeKind) -> Operation {
    Operation::Row(Change { relation: Arc::clone(relation), kind, commit_lsn: Lsn(1) })
}

/// `+1a.` inserts id 1, name a, no parent; `~` updates, `-` deletes; `1>2a.` moves id 1 to 2. A character a value; `.` is
/// NULL, `…` was not sent.
fn operation(relation: &Arc<Relation>, text: &str) -> Operation {
    let values = |text: &str| {
        let values: Vec<String> = text.chars().map(String::from).collect();
        let values: Vec<Option<&str>> =
            values.iter().map(|value| (value != ".").then_some(value.as_str())).collect();
        tuple(&values)
    };
    let old = |id: &str| tuple(&[Some(id), None, None]);
    let kind = match (text.split_once('>'), text.split_at(1)) {
        (Some((id, new)), _) => ChangeKind::Update { old: Some(old(id)), new: values(new) },
        (None, ("+", new)) => ChangeKind::Insert { new: values(new) },
        (None, ("~", new)) => ChangeKind::Update { old: None, new: values(new) },
        (None, (_, id)) => ChangeKind::Delete { old: old(id) },
    };
    row(relation, kind)
}

/// The groups of changes of `t`, each as the places of its members.
fn grouped(texts: &[&str]) -> String {
    let relation = relation(1, "t");
    let operations: Vec<_> = texts.iter().map(|text| operation(&relation, text)).collect();
    shown(&groups(&operations, &keys([keys_of(&relation, None)])).unwrap())
}

fn shown(groups: &[usize]) -> String {
    let members = |first: usize| {
        let members = groups.iter().enumerate().filter(|(_, group)| **group == first);
        members.map(|(place, _)| place.to_string()).collect::<String>()
    };
    let firsts = (0..groups.len()).filter(|place| groups[*place] == *place);
    firsts.map(members).collect::<Vec<_>>().join(" ")
}

#[test]
fn changes_that_touch_the_same_stay_together() {
    for (texts, expected) in [
        (&["+1a.", "+2b.", "~1a.", "-2"][..], "02 13"),
        // A key that moves ties what it leaves to where it goes.
        (&["~1a.", "~2b.", "1>3c.", "~3c.", "~4d."], "023 1 4"),
        // A unique value beside the key, handed from one row to another.
        (&["~1a.", "~2a.", "~3b."], "01 2"),
        (&["+1a.", "+2b.", "1>3b."], "012"),
        // NULL is nobody's value.
        (&["~1..", "~2..", "~3.."], "0 1 2"),
        // A value of a key that was not sent may be any: the table goes one way.
        (&["~1….", "~2a.", "~3b."], "012"),
    ] {
        assert_eq!(grouped(texts), expected, "{texts:?}");
    }
}

#[test]
fn a_row_stays_with_the_row_that_it_refers_to() {
    let (parent, child) = (relation(1, "parent"), relation(2, "child"));
    let keys = keys([keys_of(&parent, None), keys_of(&child, Some("parent"))]);
    let operations = [
        operation(&parent, "+1a."),
        operation(&parent, "+2b."),
        operation(&child, "+1x2"),
        operation(&child, "+2y."),
        operation(&child, "1>3z1"),
    ];
    assert_eq!(shown(&groups(&operations, &keys).unwrap()), "0124 3");
}

#[test]
fn rows_that_cannot_be_told_apart_go_one_way_and_take_what_refers_to_them_along() {
    let (parent, child) = (relation(1, "parent"), relation(2, "child"));
    let mut serial = keys_of(&parent, None);
    serial.serial = true;
    let keys_serial = keys([serial, keys_of(&child, Some("parent"))]);
    let operations = [
        operation(&parent, "+1a."),
        operation(&parent, "+2b."),
        operation(&child, "+1x9"),
        operation(&child, "+2y."),
    ];
    assert_eq!(shown(&groups(&operations, &keys_serial).unwrap()), "012 3");

    // The same where it is the child's side that cannot be compared.
    let mut child_keys = keys_of(&child, Some("parent"));
    child_keys.references[0].serial = true;
    let keys_child = keys([keys_of(&parent, None), child_keys]);
    assert_eq!(shown(&groups(&operations, &keys_child).unwrap()), "012 3");

    let without_key = keyless();
    let insert = |id| row(&without_key, ChangeKind::Insert { new: tuple(&[Some(id), Some("n")]) });
    let keys_none = keys([TableKeys::without_keys(&without_key.target)]);
    assert_eq!(shown(&groups(&[insert("1"), insert("2")], &keys_none).unwrap()), "01");
}

#[test]
fn what_only_one_transaction_can_do_is_not_parted() {
    let first = relation(1, "t");
    let known = keys([keys_of(&first, None)]);
    let inserts = |relation: &Arc<Relation>, count| -> Vec<Operation> {
        let insert = |id: usize| ChangeKind::Insert {
            new: tuple(&[Some(&id.to_string()), Some(&format!("n{id}")), None]),
        };
        (0..count).map(|id| row(relation, insert(id))).collect()
    };
    let enough = inserts(&first, 2 * LANE_OPERATIONS_MIN);
    assert_eq!(partition(&enough, &known, 8).map(|parts| parts.len()), Some(2));
    assert_eq!(partition(&enough, &known, 1), None);
    assert_eq!(partition(&enough[1..], &known, 8), None, "too small");

    let mut emptied = enough.clone();
    emptied.push(Operation::Truncate(Truncation {
        tables: vec![TableName::new("public", "t")],
        conditions: Vec::new(),
        restart_identity: false,
    }));
    assert_eq!(partition(&emptied, &known, 2), None, "a table is emptied");

    // The table has got another column meanwhile.
    let mut other = Relation::clone(&first);
    let mut shape = Target::clone(&other.target);
    shape.columns.push(column("more", "integer"));
    other.target = Arc::new(shape);
    let mixed = [inserts(&Arc::new(other), 1), enough.clone()].concat();
    assert_eq!(partition(&mixed, &known, 2), None, "two shapes");

    let one_row = vec![operation(&first, "~1a."); 3 * LANE_OPERATIONS_MIN];
    assert_eq!(partition(&one_row, &known, 2), None, "it hangs together");
}

/// What a change of `t` touches, by its text.
fn touched(text: &str) -> HashSet<(usize, char)> {
    let row = |text: &str| text.chars().take(2).enumerate().filter(|(_, value)| *value != '.').collect();
    let id = |text: &str| text.chars().next().map(|value| (0, value));
    match (text.split_once('>'), text.split_at(1)) {
        (Some((old, new)), _) => {
            let mut all: HashSet<(usize, char)> = row(new);
            all.extend(id(old));
            all
        }
        (None, ("-", old)) => id(old).into_iter().collect(),
        (None, (_, new)) => row(new),
    }
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let value = "[0-9a-zA-Z]";
    let change = prop_oneof![
        (value, "[0-9a-zA-Z.]").prop_map(|(id, name)| format!("+{id}{name}.")),
        (value, "[0-9a-zA-Z.]").prop_map(|(id, name)| format!("~{id}{name}.")),
        value.prop_map(|id| format!("-{id}")),
        (value, value, "[0-9a-zA-Z.]").prop_map(|(old, id, name)| format!("{old}>{id}{name}.")),
    ];
    prop::collection::vec(change, 0..60)
}

proptest! {
    #[test]
    fn every_change_has_one_lane_and_what_touches_the_same_shares_it(texts in texts(), lanes in 2_usize..9) {
        let relation = relation(1, "t");
        let operations: Vec<_> = texts.iter().map(|text| operation(&relation, text)).collect();
        let keys = keys([keys_of(&relation, None)]);
        let parts = deal(&groups(&operations, &keys).unwrap(), lanes);
        prop_assert!(parts.len() <= lanes);
        prop_assert_eq!(&parts, &deal(&groups(&operations, &keys).unwrap(), lanes), "it is a function");

        let mut lane_of = vec![None; texts.len()];
        for (lane, part) in parts.iter().enumerate() {
            prop_assert!(part.is_sorted(), "in order");
            for place in part {
                prop_assert!(lane_of[*place].replace(lane).is_none(), "once");
            }
        }
        prop_assert!(lane_of.iter().all(Option::is_some));
        for (left, right) in (0..texts.len()).flat_map(|left| (0..left).map(move |right| (left, right))) {
            if !touched(&texts[left]).is_disjoint(&touched(&texts[right])) {
                prop_assert_eq!(lane_of[left], lane_of[right], "{} and {}", &texts[left], &texts[right]);
            }
        }
    }
}
