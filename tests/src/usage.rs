//! What Linux has counted for a process: CPU time and memory, from `/proc` (proc(5)).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// The unit of the times in `/proc/PID/stat`: `USER_HZ`, which is 100 on every architecture that the tests run on.
const TICKS_PER_SECOND: u32 = 100;

/// What we read of `/proc/PID/stat`.
struct Stat {
    process: u32,
    parent: u32,
    /// In user and kernel mode, its own and that of the children that it has waited for.
    ticks: u64,
}

/// The CPU time that a process and all that descends from it have used, in steps of 10 ms. A child that has ended counts
/// once its parent has waited for it, as a postmaster does at once.
pub(crate) fn cpu_time_of_tree(root: u32) -> Result<Duration> {
    let everything = processes()?;
    let mut ticks = 0;
    let mut tree = vec![root];
    while let Some(process) = tree.pop() {
        ticks += everything.iter().filter(|stat| stat.process == process).map(|stat| stat.ticks).sum::<u64>();
        tree.extend(everything.iter().filter(|stat| stat.parent == process).map(|stat| stat.process));
    }
    Ok(Duration::from_secs(ticks) / TICKS_PER_SECOND)
}

/// The CPU time of the programs that this process has started and waited for, in steps of 10 ms.
pub fn cpu_time_of_ended_children() -> Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit_once(')').context("read stat")?.1.split_whitespace().collect();
    let times = fields.get(13..15).context("read stat")?.iter();
    let ticks = times.map(|ticks| ticks.parse::<u64>()).sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs(ticks) / TICKS_PER_SECOND)
}

/// The processes that a process has started and that still run.
pub(crate) fn children_of(parent: u32) -> Result<Vec<u32>> {
    Ok(processes()?.into_iter().filter(|stat| stat.parent == parent).map(|stat| stat.process).collect())
}

/// The largest resident memory of a process so far (VmHWM), in bytes.
pub(crate) fn memory_peak(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("find VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Sets VmHWM to what the process holds now. False where the kernel was built without it or denies it.
pub(crate) fn forget_memory_peak(process: u32) -> Result<bool> {
    const FORGET_PEAK: &str = "5";
    match fs::write(format!("/proc/{process}/clear_refs"), FORGET_PEAK) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(false),
        Err(error) => Err(error).context("write clear_refs"),
    }
}

fn processes() -> Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        // A process may end while we look.
        if let Some(stat) = stat_of(&entry.path()) {
            found.push(stat);
        }
    }
    Ok(found)
}

fn stat_of(directory: &Path) -> Option<Stat> {
    let process = directory.file_name()?.to_str()?.parse().ok()?;
    let text = fs::read_to_string(directory.join("stat")).ok()?;
    // The name stands in parentheses and may hold anything; state, parent, … follow.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let (parent, times) = (fields.get(1)?.parse().ok()?, fields.get(11..15)?);
    let ticks = times.iter().map(|ticks| ticks.parse::<u64>()).sum::<Result<_, _>>().ok()?;
    Some(Stat { process, parent, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_a_child_counts_for_its_parent() {
        let before = cpu_time_of_tree(std::process::id()).unwrap();
        let worked = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"])
            .status()
            .unwrap();
        assert!(worked.success());
        assert!(cpu_time_of_tree(std::process::id()).unwrap() >= before + Duration::from_millis(20));
    }

    #[test]
    fn a_peak_is_at_least_what_is_held() {
        let held = vec![1_u8; 8 << 20];
        assert!(memory_peak(std::process::id()).unwrap() >= held.iter().map(|&byte| u64::from(byte)).sum());
    }
}
