//! What the kernel says of processes.

use std::time::Duration;

/// Ticks of a second in `/proc/<pid>/stat`: 100 on every Linux that runs this.
const TICKS: u64 = 100;

/// CPU time that a process has used.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name before may hold anything, its closing bracket is the last one.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 1_000 / TICKS)
}

/// CPU time that was used on this machine, by whatever.
pub fn cpu_time_of_machine() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields = stat.lines().next().unwrap().split_whitespace().skip(1).map(|f| f.parse::<u64>().unwrap());
    // All but the fourth and the fifth, idle and waiting for disks, and what other machines took.
    let ticks: u64 = fields.take(7).enumerate().filter(|(at, _)| !(3..5).contains(at)).map(|(_, n)| n).sum();
    Duration::from_millis(ticks * 1_000 / TICKS)
}

/// Resident memory of a process.
pub fn resident_mb(pid: u32) -> f64 {
    memory_mb(pid, "VmRSS:")
}

/// The most that a process ever had of it.
pub fn peak_mb(pid: u32) -> f64 {
    memory_mb(pid, "VmHWM:")
}

fn memory_mb(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1_024.0
}
