//! The series of the writing figures: a fleet of hosts, 1 000 series each, 22 of 100 of one metric that has a zone.

use crate::course::Course;
use crate::requests::Series;

/// Selects all of them.
pub(crate) const MATCHER: &str = "job=\"fleet\"";

/// What is asked of them: 220 series a host.
pub(crate) const RATE_BY_ZONE: &str = "sum by (zone) (rate(http_requests_total[5m]))";

/// Series of a host.
const HOST: usize = 1000;

const CODES: [&str; 4] = ["200", "302", "404", "500"];
const BOUNDS: [&str; 12] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
const MODES: [&str; 8] = ["idle", "user", "system", "iowait", "irq", "softirq", "nice", "steal"];

/// So many series in shards of at most so many; a shard goes into a request. With `spread`, each host has times of its
/// own within a step, as scraped ones have.
pub(crate) fn shards(series: usize, shard: usize, step: i64, spread: bool) -> Vec<Vec<Series>> {
    let mut shards = Vec::with_capacity(series.div_ceil(shard));
    let mut place = 0;
    while place < series {
        let end = (place + shard).min(series);
        let delay = |host: usize| if spread { host as i64 * 7919 % step } else { 0 };
        shards.push((place..end).map(|place| one(place).delayed(delay(place / HOST))).collect());
        place = end;
    }
    shards
}

/// The series at a place.
fn one(place: usize) -> Series {
    let (host, within) = (place / HOST, place % HOST);
    let (instance, zone) = (format!("host-{host:04}:8080"), format!("zone-{}", host % 5));
    let make = |name: &str, more: &[(&str, &str)], course: Course| {
        let mut labels =
            vec![("__name__", name), ("instance", instance.as_str()), ("job", "fleet"), ("zone", &zone)];
        labels.extend_from_slice(more);
        Series::new(&labels, course, place)
    };
    match within {
        0..220 => {
            let (handler, code) = (format!("/api/v1/handler-{:02}", within / 4), CODES[within % 4]);
            make("http_requests_total", &[("code", code), ("handler", &handler)], Course::Counter(0, 300))
        }
        220..520 => {
            let (within, bucket) = ((within - 220) / 12, (within - 220) % 12);
            let handler = format!("/api/v1/handler-{within:02}");
            let course = Course::Counter(0, 1 << bucket);
            make(
                "http_request_duration_seconds_bucket",
                &[("handler", &handler), ("le", BOUNDS[bucket])],
                course,
            )
        }
        520..700 => {
            let number = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let pod = format!("shop-{:08x}-{:05x}", number >> 32, number >> 12 & 0xf_ffff);
            make(
                "container_memory_bytes",
                &[("namespace", "shop"), ("pod", &pod)],
                Course::Walk(2e8, 4_000_000),
            )
        }
        700..828 => {
            let (cpu, mode) = ((within - 700) / 8, MODES[(within - 700) % 8]);
            make(
                "node_cpu_seconds_total",
                &[("cpu", &cpu.to_string()), ("mode", mode)],
                Course::Counter(0, 15),
            )
        }
        828..914 => {
            let (device, name) = (format!("/dev/vd{}", (within - 828) / 2), ["size", "files"][within % 2]);
            let name = format!("node_filesystem_{name}_bytes");
            make(&name, &[("device", &device)], Course::Constant(5e8 + within as f64))
        }
        _ => {
            let queue = format!("queue-{}", within - 914);
            make("queue_length", &[("queue", &queue)], Course::Gauge(1000))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn every_series_is_another() {
        let shards = super::shards(3000, 700, 15_000, false);
        let series: Vec<_> = shards.iter().flatten().map(|series| series.labels().to_vec()).collect();
        assert_eq!(series.len(), 3000);
        assert_eq!(series.into_iter().collect::<HashSet<_>>().len(), 3000);
    }

    #[test]
    fn the_metric_of_the_range_query_has_22_of_100_series() {
        let name = b"http_requests_total";
        let has_name = |labels: &[u8]| labels.windows(name.len()).any(|bytes| bytes == name);
        let shards = super::shards(2000, 1000, 15_000, true);
        assert_eq!(shards.iter().flatten().filter(|series| has_name(series.labels())).count(), 440);
    }
}
