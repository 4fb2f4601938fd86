//! What the system says of processes and of the machine, read from `/proc`.

use std::fs::read_to_string;

/// Clock ticks a second in `/proc/PID/stat`: the same on every Linux that metricsd runs on.
const TICKS: f64 = 100.0;

/// Processor time of a process.
#[derive(Clone, Copy, Default)]
pub(crate) struct Times {
    /// Its own, in seconds.
    pub(crate) own: f64,
    /// That of its children that have ended and were waited for, in seconds.
    pub(crate) ended_children: f64,
}

/// Processor time that a process has used; nothing for one that is not there.
pub(crate) fn times(pid: u32) -> Times {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the program's name in brackets comes the state; utime, stime, cutime and cstime are fields 12 to 15 from there.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let seconds =
        |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / TICKS;
    Times { own: seconds(11) + seconds(12), ended_children: seconds(13) + seconds(14) }
}

/// Processor time that this process has used, in seconds.
pub(crate) fn own_seconds() -> f64 {
    times(std::process::id()).own
}

/// A process' parent.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// Every process that there is.
pub(crate) fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// How a process was called, or calls itself now.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// One of the system's figures of a process' memory in MiB: `VmRSS:` is what it holds now, `VmHWM:` the most that it has held.
pub(crate) fn memory_mb(pid: u32, figure: &str) -> f64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap_or("0");
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The system's averages of waiting processes, over 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Processor, cores and memory.
pub(crate) fn machine() -> String {
    let read = |path: &str| read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let model =
        cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kb = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let gib = kb.and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0;
    format!("{cores} cores ({}), {gib:.0} GiB", model.unwrap_or("unknown processor"))
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
