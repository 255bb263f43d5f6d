//! Comments.

use strait_postgres::quote;
use strait_proto::v1;

pub(in super::super) fn create(comment: &v1::Comment) -> String {
    format!("COMMENT ON {} IS {}", target(comment), quote::literal(&comment.text))
}

fn target(comment: &v1::Comment) -> String {
    let part = quote::identifier(&comment.part);
    let name = quote::qualified(&comment.schema, &comment.name);
    match &*comment.object_kind {
        "schema" => format!("SCHEMA {}", quote::identifier(&comment.name)),
        "column" => format!("COLUMN {name}.{part}"),
        "index" => format!("INDEX {}", quote::qualified(&comment.schema, &comment.part)),
        "constraint" => format!("CONSTRAINT {part} ON {name}"),
        "domain constraint" => format!("CONSTRAINT {part} ON DOMAIN {name}"),
        kind => format!("{} {name}", kind.to_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_names_its_object_in_its_own_way() {
        for (kind, part, expected) in [
            ("table", "", r#"COMMENT ON TABLE "s"."t" IS 'it''s'"#),
            ("materialized view", "", r#"COMMENT ON MATERIALIZED VIEW "s"."t" IS 'it''s'"#),
            ("column", "c\"d", r#"COMMENT ON COLUMN "s"."t"."c""d" IS 'it''s'"#),
            ("index", "i", r#"COMMENT ON INDEX "s"."i" IS 'it''s'"#),
            ("constraint", "k", r#"COMMENT ON CONSTRAINT "k" ON "s"."t" IS 'it''s'"#),
            ("domain constraint", "k", r#"COMMENT ON CONSTRAINT "k" ON DOMAIN "s"."t" IS 'it''s'"#),
            ("schema", "", r#"COMMENT ON SCHEMA "t" IS 'it''s'"#),
        ] {
            let comment = v1::Comment {
                object_kind: kind.into(),
                schema: "s".into(),
                name: "t".into(),
                part: part.into(),
                text: "it's".into(),
            };
            assert_eq!(create(&comment), expected);
        }
    }
}
