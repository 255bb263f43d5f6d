//! Dependency order: everything after what it needs, otherwise as it came.

use std::collections::{BTreeMap, BTreeSet};

/// Orders `nodes` so that each stands after all of `needs(node)` that are nodes too; among equals the given
/// order stays. A cycle is broken at the first node that waits.
pub(super) fn dependency_order<N: Copy + Ord>(nodes: &[N], needs: impl Fn(N) -> Vec<N>) -> Vec<N> {
    let position: BTreeMap<N, usize> = nodes.iter().enumerate().map(|(at, node)| (*node, at)).collect();
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

/// The nodes that need themselves in the end, and those that lie between two such.
pub(super) fn cyclic<N: Copy + Ord>(nodes: &[N], needs: impl Fn(N) -> Vec<N>) -> BTreeSet<N> {
    let among: BTreeSet<N> = nodes.iter().copied().collect();
    let mut needed: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
    let mut needed_by: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
    for node in &among {
        let of_node: BTreeSet<N> = needs(*node).into_iter().filter(|need| among.contains(need)).collect();
        for need in &of_node {
            needed_by.entry(*need).or_default().insert(*node);
        }
        needed.insert(*node, of_node);
    }
    let without_roots = peel(&among, &needed, &needed_by);
    peel(&without_roots, &needed_by, &needed)
}

/// Takes away, as long as there are any, the nodes without an edge `out` to what is left.
fn peel<N: Copy + Ord>(
    nodes: &BTreeSet<N>,
    out: &BTreeMap<N, BTreeSet<N>>,
    back: &BTreeMap<N, BTreeSet<N>>,
) -> BTreeSet<N> {
    let left_out = |node: &N| out.get(node).into_iter().flatten().filter(|it| nodes.contains(it)).count();
    let mut counts: BTreeMap<N, usize> = nodes.iter().map(|node| (*node, left_out(node))).collect();
    let mut pending: Vec<N> =
        counts.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut left = nodes.clone();
    while let Some(node) = pending.pop() {
        left.remove(&node);
        for behind in back.get(&node).into_iter().flatten() {
            if let Some(count) = counts.get_mut(behind)
                && *count > 0
            {
                *count -= 1;
                if *count == 0 {
                    pending.push(*behind);
                }
            }
        }
    }
    left
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
    #[test]
    fn cycles_are_found_and_what_only_hangs_on_them_is_not_one() {
        for (name, edges, expected) in [
            ("a chain", &[(1, 2), (2, 3)][..], &[][..]),
            ("two in a ring", &[(1, 2), (2, 1), (3, 1), (2, 4)], &[1, 2]),
            ("itself", &[(1, 1), (2, 1)], &[1]),
            ("between two rings", &[(1, 1), (1, 2), (2, 3), (3, 3)], &[1, 2, 3]),
        ] {
            let needs = |node| edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| *to).collect();
            let found: Vec<i32> = cyclic(&[1, 2, 3, 4], needs).into_iter().collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
