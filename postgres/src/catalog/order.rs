//! Dependency order: everything after what it needs, otherwise as it came.

use std::collections::{BTreeMap, BTreeSet};

/// Orders `nodes` so that each stands after all of `needs(node)` that are nodes too; among equals the given
/// order stays. A cycle, which the catalogs do not offer in what is ordered here, is broken at its first
/// node.
pub(super) fn dependency_order(nodes: &[u32], needs: impl Fn(u32) -> Vec<u32>) -> Vec<u32> {
    let position: BTreeMap<u32, usize> = nodes.iter().enumerate().map(|(at, node)| (*node, at)).collect();
    let mut waits_for: Vec<usize> = vec![0; nodes.len()];
    let mut waited_by: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let needed: BTreeSet<usize> = needs(*node)
            .iter()
            .filter_map(|need| position.get(need).copied())
            .filter(|need| *need != at)
            .collect();
        waits_for[at] = needed.len();
        for need in needed {
            waited_by[need].push(at);
        }
    }

    let mut pending: BTreeSet<usize> = (0..nodes.len()).collect();
    let mut ready: BTreeSet<usize> = pending.iter().copied().filter(|at| waits_for[*at] == 0).collect();
    let mut ordered = Vec::with_capacity(nodes.len());
    while let Some(next) = ready.pop_first().or_else(|| pending.first().copied()) {
        pending.remove(&next);
        ordered.push(nodes[next]);
        for waiting in &waited_by[next] {
            waits_for[*waiting] = waits_for[*waiting].saturating_sub(1);
            if waits_for[*waiting] == 0 && pending.contains(waiting) {
                ready.insert(*waiting);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_stands_after_what_it_needs() {
        for (name, nodes, edges, expected) in [
            ("nothing needed: the order stays", &[3, 1, 2][..], &[][..], &[3, 1, 2][..]),
            ("a chain", &[1, 2, 3], &[(1, 2), (2, 3)], &[3, 2, 1]),
            ("a diamond", &[1, 2, 3, 4], &[(1, 2), (1, 3), (2, 4), (3, 4)], &[4, 2, 3, 1]),
            ("needs outside the nodes do not count", &[1, 2], &[(1, 9), (1, 1)], &[1, 2]),
            ("a cycle loses nobody", &[1, 2, 3], &[(1, 2), (2, 1), (3, 1)], &[1, 2, 3]),
        ] {
            let needs = |node| edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| *to).collect();
            assert_eq!(dependency_order(nodes, needs), expected, "{name}");
        }
    }
}
