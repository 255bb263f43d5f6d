//! What folding means, case by case, and that it equals applying in order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use strait_proto::Lsn;

use super::super::relation::tests::keyed;
use super::super::tuple::Cell;
use super::super::tuple::tests::tuple;
use super::*;

/// `+1a` inserts key 1 with name a, `~1a` updates it, `-1` deletes it, `1>2a` moves key 1 to key 2 with name
/// a; the name `…` is one that the source did not send.
fn change(relation: &Arc<Relation>, text: &str) -> Change {
    let row = |text: &str| {
        let (key, name) = text.split_at(1);
        tuple(&[Some(key), Some(name)])
    };
    let key = |key: &str| tuple(&[Some(key), None]);
    let kind = match (text.split_at(1), text.split_once('>')) {
        (_, Some((old, new))) => ChangeKind::Update { old: Some(key(old)), new: row(new) },
        (("+", new), _) => ChangeKind::Insert { new: row(new) },
        (("~", new), _) => ChangeKind::Update { old: None, new: row(new) },
        (("-", old), _) => ChangeKind::Delete { old: key(old) },
        _ => panic!("{text}"),
    };
    Change { relation: Arc::clone(relation), kind, commit_lsn: Lsn(1) }
}

fn text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(content) => String::from_utf8_lossy(content).into_owned(),
        Cell::Unchanged => "…".to_owned(),
        Cell::Null => String::new(),
    }
}

/// Stages as text: `delete 1 | absent 2 | update 3a | insert 4b`, then `; move 1>2a`, and so on.
fn folded(changes: &[&str]) -> String {
    let relation = keyed();
    let mut fold = Fold::default();
    for text in changes {
        fold.push(&change(&relation, text)).unwrap();
    }
    let key = |image: &Image| text(image.tuple.cell(0));
    let row = |image: &Image| key(image) + &text(image.tuple.cell(1));
    let stages = fold.finish().unwrap().into_iter().map(|stage| match stage {
        Stage::Net(net) => [
            net.deletes.iter().map(|image| format!("delete {}", key(image))).collect::<Vec<_>>(),
            net.absent.iter().map(|image| format!("absent {}", key(image))).collect(),
            net.updates.iter().map(|image| format!("update {}", row(image))).collect(),
            net.inserts.iter().map(|image| format!("insert {}", row(image))).collect(),
        ]
        .concat()
        .join(" | "),
        Stage::Moves(moves) => moves
            .iter()
            .map(|(old, new)| format!("move {}>{}", key(old), row(new)))
            .collect::<Vec<_>>()
            .join(" | "),
    });
    stages.collect::<Vec<_>>().join("; ")
}

#[test]
fn changes_of_one_row_become_their_net_effect() {
    let cases: [(&[&str], &str); 16] = [
        (&["+1a"], "insert 1a"),
        (&["+1a", "~1b"], "insert 1b"),
        (&["+1a", "~1…"], "insert 1a"),
        (&["+1a", "-1"], "absent 1"),
        (&["+1a", "-1", "+1b"], "insert 1b"),
        (&["~1a", "~1b"], "update 1b"),
        (&["~1a", "~1…"], "update 1a"),
        (&["~1…"], "update 1…"),
        (&["~1a", "-1"], "delete 1"),
        (&["-1", "+1a"], "delete 1 | insert 1a"),
        (&["-1", "+1a", "~1b"], "delete 1 | insert 1b"),
        (&["-1", "+1a", "-1"], "delete 1"),
        (&["-1", "+1a", "-1", "+1b"], "delete 1 | insert 1b"),
        // The source says of key 1 what it cannot be: the server is asked, and finds a conflict or not.
        (&["-1", "~1a"], "delete 1; ; update 1a"),
        (&["-1", "-1"], "delete 1; ; delete 1"),
        (&["+1a", "+1b"], "insert 1b"),
    ];
    for (changes, expected) in cases {
        assert_eq!(folded(changes), expected, "{changes:?}");
    }
}

#[test]
fn different_rows_share_a_stage() {
    assert_eq!(folded(&["+1a", "-2", "~3c", "+4d"]), "delete 2 | update 3c | insert 1a | insert 4d");
}

#[test]
fn a_moving_key_ends_the_folding_of_its_two_keys_alone() {
    let cases: [(&[&str], &str); 7] = [
        (&["1>2a"], "; move 1>2a"),
        (&["1>2…"], "; move 1>2…"),
        (&["~1a", "1>2b", "~2c", "+1d"], "update 1a; move 1>2b; update 2c | insert 1d"),
        (&["1>2a", "3>4b", "+5c"], "insert 5c; move 1>2a | move 3>4b"),
        (&["1>2a", "2>3b"], "; move 1>2a; ; move 2>3b"),
        (&["-2", "1>2a"], "delete 2; move 1>2a"),
        // Two rows swap their keys by way of a third.
        (&["1>0a", "2>1b", "0>2a"], "; move 1>0a; ; move 2>1b; ; move 0>2a"),
    ];
    for (changes, expected) in cases {
        assert_eq!(folded(changes), expected, "{changes:?}");
    }
}

#[test]
fn long_chains_are_not_executed_in_sets() {
    let relation = keyed();
    let mut fold = Fold::default();
    for _ in 0..STAGES_MAX {
        fold.push(&change(&relation, "1>2a")).unwrap();
        fold.push(&change(&relation, "2>1a")).unwrap();
    }
    assert!(fold.finish().is_err());
}

/// A table as the executor's statements see it: key to name.
type Table = BTreeMap<String, String>;

/// Executes what the statements of the stages do.
fn execute(stages: Vec<Stage>, table: &mut Table) -> Result<(), String> {
    let key = |image: &Image| text(image.tuple.cell(0));
    let name = |image: &Image| text(image.tuple.cell(1));
    for stage in stages {
        match stage {
            Stage::Net(net) => {
                for image in &net.deletes {
                    table.remove(&key(image)).ok_or("a deleted row is missing")?;
                }
                for image in &net.absent {
                    table.remove(&key(image));
                }
                for image in &net.updates {
                    let row = table.get_mut(&key(image)).ok_or("an updated row is missing")?;
                    if name(image) != "…" {
                        *row = name(image);
                    }
                }
                let keys: BTreeSet<String> = net.inserts.iter().map(key).collect();
                if keys.len() < net.inserts.len() {
                    return Err("ON CONFLICT would meet a row twice".to_owned());
                }
                table.extend(net.inserts.iter().map(|image| (key(image), name(image))));
            }
            Stage::Moves(moves) => {
                let mut moved = Vec::new();
                for (old, new) in &moves {
                    let row = table.remove(&key(old)).ok_or("a moved row is missing")?;
                    moved.push((key(new), if name(new) == "…" { row } else { name(new) }));
                }
                for (key, name) in moved {
                    if table.insert(key, name).is_some() {
                        return Err("two rows of one key".to_owned());
                    }
                }
            }
        }
    }
    Ok(())
}

/// One attempt of a writer at the source: it does what the table allows and tells the change, or nothing.
fn attempt(table: &mut Table, action: u8, key: char, other: char, name: char) -> Option<String> {
    let (key, other) = (key.to_string(), other.to_string());
    match action {
        0 if !table.contains_key(&key) => {
            table.insert(key.clone(), name.to_string());
            Some(format!("+{key}{name}"))
        }
        1 if table.contains_key(&key) => {
            table.insert(key.clone(), name.to_string());
            Some(format!("~{key}{name}"))
        }
        2 if table.contains_key(&key) => Some(format!("~{key}…")),
        3 if table.remove(&key).is_some() => Some(format!("-{key}")),
        4 if table.contains_key(&key) && !table.contains_key(&other) => {
            table.remove(&key);
            table.insert(other.clone(), name.to_string());
            Some(format!("{key}>{other}{name}"))
        }
        5 if table.contains_key(&key) && !table.contains_key(&other) => {
            let row = table.remove(&key)?;
            table.insert(other.clone(), row);
            Some(format!("{key}>{other}…"))
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_stages_do_what_the_changes_did_in_order(
        before in prop::collection::btree_map("[1-6]", "[a-e]", 0..6),
        attempts in prop::collection::vec(
            (0..6_u8, prop::char::range('1', '6'), prop::char::range('1', '6'), prop::char::range('a', 'e')),
            0..40,
        ),
    ) {
        let relation = keyed();
        let mut source = before.clone();
        let mut fold = Fold::default();
        for (action, key, other, name) in attempts {
            if let Some(text) = attempt(&mut source, action, key, other, name) {
                fold.push(&change(&relation, &text)).unwrap();
            }
        }
        let mut destination = before;
        if let Ok(stages) = fold.finish() {
            prop_assert_eq!(execute(stages, &mut destination), Ok(()));
            prop_assert_eq!(destination, source);
        }
    }
}
