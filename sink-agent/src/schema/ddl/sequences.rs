//! Sequences, those of identity columns included.

use strait_postgres::quote;
use strait_proto::v1;

pub(in super::super) fn create(sequence: &v1::Sequence) -> String {
    let mut statement = format!("CREATE SEQUENCE {}", quote::qualified(&sequence.schema, &sequence.name));
    if let Some(options) = &sequence.options {
        statement.push_str(&format!(" AS {}{}", options.data_type, clauses(options)));
    }
    statement
}

/// Ties the sequence to the column that it belongs to; None where it stands for itself.
pub(in super::super) fn set_owner(sequence: &v1::Sequence) -> Option<String> {
    let table = sequence.owner_table.as_ref()?;
    Some(format!(
        "ALTER SEQUENCE {} OWNED BY {}.{}",
        quote::qualified(&sequence.schema, &sequence.name),
        quote::qualified(&table.schema, &table.name),
        quote::identifier(&sequence.owner_column)
    ))
}

/// `GENERATED … AS IDENTITY (…)`: the type of the sequence is the column's.
pub(super) fn identity(identity: &v1::IdentityColumn) -> String {
    let kind = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
    let name = quote::qualified(&identity.sequence_schema, &identity.sequence_name);
    let options = identity.options.as_ref().map(clauses).unwrap_or_default();
    format!("GENERATED {kind} AS IDENTITY (SEQUENCE NAME {name}{options})")
}

fn clauses(options: &v1::SequenceOptions) -> String {
    format!(
        " INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {} CACHE {}{}",
        options.increment,
        options.minimum,
        options.maximum,
        options.start,
        options.cache,
        if options.cycle { " CYCLE" } else { " NO CYCLE" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> v1::SequenceOptions {
        v1::SequenceOptions {
            data_type: "integer".into(),
            start: -1,
            increment: -5,
            minimum: -100,
            maximum: -1,
            cache: 7,
            cycle: true,
        }
    }

    #[test]
    fn a_sequence_is_created_with_all_its_options_and_then_owned() {
        let mut sequence = v1::Sequence {
            schema: "s".into(),
            name: "q".into(),
            options: Some(options()),
            ..Default::default()
        };
        assert_eq!(
            create(&sequence),
            "CREATE SEQUENCE \"s\".\"q\" AS integer INCREMENT BY -5 MINVALUE -100 MAXVALUE -1 START WITH -1 CACHE 7 CYCLE"
        );
        assert_eq!(set_owner(&sequence), None);
        sequence.owner_table = Some(v1::TableName::new("s", "t"));
        sequence.owner_column = "A.b".into();
        assert_eq!(set_owner(&sequence).unwrap(), r#"ALTER SEQUENCE "s"."q" OWNED BY "s"."t"."A.b""#);
    }

    #[test]
    fn an_identity_names_its_sequence() {
        let column = v1::IdentityColumn {
            always: true,
            sequence_schema: "s".into(),
            sequence_name: "q".into(),
            options: Some(v1::SequenceOptions { cycle: false, ..options() }),
        };
        assert_eq!(
            identity(&column),
            "GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME \"s\".\"q\" INCREMENT BY -5 MINVALUE -100 MAXVALUE -1 \
             START WITH -1 CACHE 7 NO CYCLE)"
        );
    }
}
