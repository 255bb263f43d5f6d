//! The rules for rows: what can be told of them without the table.

use strait_source_agent::check_expression;

use super::fields::{Document, Entry, Transform};
use super::problem::Problem;

/// Adds a problem for each expression that does not parse, or names what no expression can.
pub(super) fn check(document: &Document, problems: &mut Vec<Problem>) {
    let include = document.objects.as_ref().and_then(|objects| objects.include.as_deref());
    for (number, entry) in include.unwrap_or_default().iter().enumerate() {
        let Entry::Fields(fields) = &entry.value else { continue };
        let Some(rules) = &fields.transform else { continue };
        for (index, rule) in rules.value.iter().enumerate() {
            for (field, text) in expressions(rule) {
                if let Err(message) = check_expression(text) {
                    let field = format!("objects.include[{number}].transform[{index}].{field}");
                    problems.push(Problem::at(rules.referenced, format!("{field}: {message}")));
                }
            }
        }
    }
}

fn expressions(rule: &Transform) -> impl Iterator<Item = (String, &String)> {
    let set = rule.set.iter().flatten();
    let set = set.map(|(column, text)| (format!("set.{column}"), text));
    rule.when.iter().map(|text| ("when".to_owned(), text)).chain(set)
}
