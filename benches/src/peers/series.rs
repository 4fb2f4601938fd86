//! The series that every server gets: 100 000 of the kinds that people have.

use crate::course::Course;
use crate::requests::Series;

/// Hosts; everything that follows is so many series a host.
const HOSTS: usize = 100;
const BOUNDS: [&str; 12] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
const MODES: [&str; 8] = ["idle", "user", "system", "iowait", "irq", "softirq", "nice", "steal"];
const CODES: [&str; 4] = ["200", "302", "404", "500"];

/// Selects all of them.
pub(crate) const MATCHER: &str = "job=\"shop\"";

/// In shards of 10 000, each with series of every host.
pub(crate) fn shards() -> Vec<Vec<Series>> {
    let series = all_series();
    let count = series.len().div_ceil(10_000);
    let mut shards: Vec<Vec<Series>> = (0..count).map(|_| Vec::new()).collect();
    for (place, (labels, course)) in series.into_iter().enumerate() {
        let pairs: Vec<(&str, &str)> =
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        shards[place % count].push(Series::new(&pairs, course, place / count));
    }
    shards
}

type Labels = Vec<(String, String)>;

fn all_series() -> Vec<(Labels, Course)> {
    let mut series = Vec::with_capacity(100_000);
    for host in 0..HOSTS {
        let instance = format!("host-{host:03}:8080");
        let mut add = |name: &str, labels: &[(&str, &str)], course: Course| {
            let mut pairs = vec![("__name__", name), ("instance", instance.as_str()), ("job", "shop")];
            pairs.extend_from_slice(labels);
            let owned = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            series.push((owned.collect(), course));
        };
        requests(&mut add);
        durations(&mut add);
        machine(&mut add);
        pods(host, &mut add);
        let zone = format!("zone-{}", host % 3);
        add("target_info", &[("version", "1.4.2"), ("zone", &zone)], Course::Constant(1.0));
    }
    series
}

/// 200 a host.
fn requests(add: &mut impl FnMut(&str, &[(&str, &str)], Course)) {
    for handler in 0..50 {
        let handler = format!("/api/v1/handler-{handler:02}");
        for code in CODES {
            add("http_requests_total", &[("code", code), ("handler", &handler)], Course::Counter(0, 300));
        }
    }
}

/// 280 a host. A bucket counts what lies in those before it, too, and grows at least as much.
fn durations(add: &mut impl FnMut(&str, &[(&str, &str)], Course)) {
    for handler in 0..20 {
        let handler = format!("/api/v1/handler-{handler:02}");
        for (place, le) in BOUNDS.iter().enumerate() {
            let course = Course::Counter(1 << place, 1 << (place + 1));
            add("http_request_duration_seconds_bucket", &[("handler", &handler), ("le", le)], course);
        }
        add("http_request_duration_seconds_sum", &[("handler", &handler)], Course::Counter(0, 900));
        add("http_request_duration_seconds_count", &[("handler", &handler)], Course::Counter(2048, 4096));
    }
}

/// 219 a host.
fn machine(add: &mut impl FnMut(&str, &[(&str, &str)], Course)) {
    for cpu in 0..16 {
        for mode in MODES {
            add(
                "node_cpu_seconds_total",
                &[("cpu", &cpu.to_string()), ("mode", mode)],
                Course::Counter(0, 15),
            );
        }
    }
    for device in 0..20 {
        let (device, mount) = (format!("/dev/vd{device}"), format!("/srv/data-{device}"));
        let labels = [("device", device.as_str()), ("mountpoint", mount.as_str())];
        add("node_filesystem_size_bytes", &labels, Course::Constant(5e11));
        add("node_filesystem_avail_bytes", &labels, Course::Gauge(500_000_000_000));
    }
    for queue in 0..51 {
        add("queue_length", &[("queue", &format!("queue-{queue}"))], Course::Gauge(1000));
    }
}

/// 300 a host, each with a name of its own.
fn pods(host: usize, add: &mut impl FnMut(&str, &[(&str, &str)], Course)) {
    for pod in 0..300usize {
        let number = ((host * 300 + pod) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let name = format!("shop-{:08x}-{:05x}", number >> 32, number >> 12 & 0xf_ffff);
        add("container_memory_bytes", &[("namespace", "shop"), ("pod", &name)], Course::Gauge(2_000_000_000));
    }
}
