//! The rules for rows (`transform`): whether each compiles against its table's columns.

use strait_proto::v1::{self, PrecheckItem};

use super::item::{list, warning};
use super::{failed, passed};
use crate::mapping::{Mapping, inputs};
use crate::rows::RowRules;
use crate::transform::Program;

const NAME: &str = "source.transforms";

/// Checks every table's rules; no item where there are none.
pub(super) fn check(mapping: &Mapping, rules: &RowRules, model: &v1::SchemaModel) -> Option<PrecheckItem> {
    let (mut count, mut faults, mut added, mut contextual) = (0, Vec::new(), Vec::new(), Vec::new());
    for table in &model.tables {
        let Some(text) = rules.transform(table.table_id) else { continue };
        count += 1;
        let name = table.table_name();
        let program = match Program::compile(text, &inputs(table, &mapping.column_map(&name))) {
            Ok(program) => program,
            Err(troubles) => {
                faults.extend(troubles.iter().map(|trouble| format!("{name}: {trouble}")));
                continue;
            }
        };
        let generated = table.columns.iter().filter(|column| column.generated.is_some());
        let shadowed = generated.filter(|column| program.added.iter().any(|it| it.name == column.name));
        faults.extend(
            shadowed.map(|it| format!("{name}: {} is a generated column, which cannot be set", it.name)),
        );
        if program.is_contextual {
            if text.key.is_empty() {
                faults.push(format!(
                    "{name}: nothing keeps its rows apart, so a row is found by all its values, which may depend on the row \
                     alone, not on op, old or commit_time"
                ));
            }
            contextual.push(name.to_string());
        }
        added.extend(program.added.iter().map(|it| format!("{name}.{} ({})", it.name, it.type_name)));
    }
    if count == 0 {
        return None;
    }
    let mut detail = format!("rules for the rows of {count} tables");
    if !added.is_empty() {
        detail = format!("{detail}; new columns: {}", list(added));
    }
    Some(if !faults.is_empty() {
        let remedy =
            "Correct `transform`: names are the source's, case included; README.md lists the functions.";
        failed(NAME, detail, list(faults), remedy)
    } else if contextual.is_empty() {
        passed(NAME, detail)
    } else {
        let cause = format!(
            "rules of {} look at op, old or commit_time: for rows of the full copy op is 'copy' and the others are null, so \
             what such a rule sets depends on whether a row was copied or followed",
            list(contextual)
        );
        warning(NAME, detail, cause, "Nothing, if that is what you want.")
    })
}
