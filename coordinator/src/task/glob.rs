//! Names with `*` for any run of characters.

/// Whether some name matches both. A name without a star matches itself, so this also tells whether a pattern matches a name.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    if !one.contains('*') && !other.contains('*') {
        return one == other;
    }
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // `rest[j]`: whether what is left of `one` and `other[j..]` overlap, for one more character of `one` at a time.
    let mut rest = vec![false; other.len() + 1];
    for i in (0..=one.len()).rev() {
        let shorter = rest.clone();
        for j in (0..=other.len()).rev() {
            let (mine, theirs) = (one.get(i), other.get(j));
            rest[j] = match (mine, theirs) {
                (None, None) => true,
                (Some('*'), _) | (_, Some('*')) => {
                    (mine == Some(&'*') && (shorter[j] || (theirs.is_some() && rest[j + 1])))
                        || (theirs == Some(&'*') && (rest[j + 1] || (mine.is_some() && shorter[j])))
                }
                (Some(mine), Some(theirs)) => mine == theirs && shorter[j + 1],
                _ => false,
            };
        }
    }
    rest[0]
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn patterns_overlap_where_a_name_matches_both() {
        for (one, other, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("", "", true),
            ("", "*", true),
            ("a*", "ab", true),
            ("a*", "b*", false),
            ("*a", "b*", true),
            ("a*c", "ab*", true),
            ("a*c", "*d", false),
            ("tmp_*_x", "tmp_1_x", true),
            ("tmp_*_x", "tmp_x", false),
            ("**", "é", true),
            ("*b*", "*c*", true),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }
}
