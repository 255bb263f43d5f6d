//! A timeline's history: at which positions its ancestors ended.

use strait_proto::Lsn;

use crate::Error;

/// An ancestor of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineSwitch {
    /// The ancestor.
    pub timeline: u32,
    /// Where it ended: positions past this belong to its descendants.
    pub switch_lsn: Lsn,
}

/// Parses a history file: a line is timeline, position and reason, separated by blanks; `#` begins a comment.
pub(super) fn parse(file: &str) -> Result<Vec<TimelineSwitch>, Error> {
    file.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let timeline = fields.next().and_then(|field| field.parse().ok());
            let switch_lsn = fields.next().and_then(|field| field.parse().ok());
            match (timeline, switch_lsn) {
                (Some(timeline), Some(switch_lsn)) => Ok(TimelineSwitch { timeline, switch_lsn }),
                _ => Err(Error::Protocol(format!("unexpected line {line:?} in a timeline's history"))),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_lists_the_ancestors() {
        let file = "1\t0/3000000\tno recovery target specified\n\n# comment\n2\t1/A0\tbefore 2000\n";
        let switches = [(1, Lsn(0x300_0000)), (2, Lsn(0x1_0000_00A0))];
        let expected = switches.map(|(timeline, switch_lsn)| TimelineSwitch { timeline, switch_lsn });
        assert_eq!(parse(file).unwrap(), expected);
        assert!(parse("one\t0/0\tx").is_err());
        assert!(parse("1").is_err());
    }
}
