//! Series like those of a node_exporter: 500 a target, named and moving as a real one's do. On a real page some two in
//! three values never change; of the others one half are noisy and one half are counters, many of which mostly rest.

use crate::course::Course::{self, Constant, Counter, Gauge, Idle, Level, Rare, Walk};
use crate::requests::Series;

/// Selects all of them.
pub(crate) const MATCHER: &str = "job=\"node\"";

/// Series of a target.
pub(crate) const SERIES: usize = 500;

/// Some series of one name: the label that tells them apart, its number of values, and a second label.
struct Family(&'static str, &'static str, usize, (&'static str, &'static str), Course, f64);

/// Of a family without labels.
const NONE: (&str, &str) = ("", "");

/// Values are whole numbers divided by this: hundredths, nanoseconds, pages of 4 KiB.
const WHOLE: f64 = 1.0;
const HUNDREDTHS: f64 = 100.0;
const NANOS: f64 = 1e9;
const PAGES: f64 = 1.0 / 4096.0;

const fn one(name: &'static str, course: Course, divisor: f64) -> Family {
    Family(name, "", 1, NONE, course, divisor)
}

const fn by(name: &'static str, label: &'static str, count: usize, course: Course, divisor: f64) -> Family {
    Family(name, label, count, NONE, course, divisor)
}

const fn cpu(mode: &'static str, course: Course) -> Family {
    Family("node_cpu_seconds_total", "cpu", 4, ("mode", mode), course, HUNDREDTHS)
}

const fn busy(device: &'static str, name: &'static str, course: Course) -> Family {
    Family(name, "", 1, ("device", device), course, WHOLE)
}

const fn memory(field: &'static str, around: f64, most: u64) -> Family {
    Family("node_memory_bytes", "", 1, ("field", field), Walk(around, most), PAGES)
}

const FAMILIES: [Family; 84] = [
    // 32: processors.
    cpu("idle", Counter(1350, 1500)),
    cpu("user", Counter(0, 90)),
    cpu("system", Counter(0, 40)),
    cpu("iowait", Idle(0, 6, 5)),
    cpu("softirq", Idle(0, 2, 3)),
    cpu("irq", Constant(0.0)),
    cpu("nice", Rare(40)),
    cpu("steal", Constant(0.0)),
    // 94: how the exporter's own parts do, noisy to the nanosecond.
    by("node_scrape_collector_duration_seconds", "collector", 47, Walk(60_000.0, 40_000), NANOS),
    by("node_scrape_collector_success", "collector", 47, Constant(1.0), WHOLE),
    // 64: networks; two of four are in use, one of them hardly.
    busy("eth0", "node_network_receive_bytes_total", Counter(20_000, 4_000_000)),
    busy("eth0", "node_network_transmit_bytes_total", Counter(20_000, 3_000_000)),
    busy("eth0", "node_network_receive_packets_total", Counter(200, 9000)),
    busy("eth0", "node_network_transmit_packets_total", Counter(200, 8000)),
    busy("lo", "node_network_receive_bytes_total", Idle(100, 300_000, 3)),
    busy("lo", "node_network_transmit_bytes_total", Idle(100, 300_000, 3)),
    busy("lo", "node_network_receive_packets_total", Idle(1, 900, 3)),
    busy("lo", "node_network_transmit_packets_total", Idle(1, 900, 3)),
    by("node_network_receive_errs_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_transmit_errs_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_receive_drop_total", "device", 4, Rare(200), WHOLE),
    by("node_network_transmit_drop_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_receive_fifo_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_receive_frame_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_receive_compressed_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_receive_multicast_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_transmit_colls_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_transmit_carrier_total", "device", 4, Constant(0.0), WHOLE),
    by("node_network_mtu_bytes", "device", 4, Constant(1500.0), WHOLE),
    by("node_network_up", "device", 4, Constant(1.0), WHOLE),
    by("node_network_flags", "device", 4, Constant(4099.0), WHOLE),
    by("node_network_carrier_changes_total", "device", 4, Constant(2.0), WHOLE),
    // 40: disks.
    by("node_disk_reads_completed_total", "device", 2, Idle(0, 40, 4), WHOLE),
    by("node_disk_writes_completed_total", "device", 2, Counter(0, 400), WHOLE),
    by("node_disk_read_bytes_total", "device", 2, Idle(0, 900, 4), PAGES),
    by("node_disk_written_bytes_total", "device", 2, Counter(0, 4000), PAGES),
    by("node_disk_io_time_seconds_total", "device", 2, Counter(0, 3), HUNDREDTHS),
    by("node_disk_write_time_seconds_total", "device", 2, Counter(0, 9000), 1000.0),
    by("node_disk_read_time_seconds_total", "device", 2, Idle(0, 90, 4), 1000.0),
    by("node_disk_io_now", "device", 2, Level(3, 8), WHOLE),
    by("node_disk_discards_completed_total", "device", 2, Rare(60), WHOLE),
    by("node_disk_flush_requests_total", "device", 2, Counter(0, 60), WHOLE),
    by("node_filesystem_avail_bytes", "mountpoint", 4, Walk(2e7, 300), PAGES),
    by("node_filesystem_size_bytes", "mountpoint", 4, Constant(1e11), WHOLE),
    by("node_filesystem_files_free", "mountpoint", 4, Walk(6e6, 20), WHOLE),
    by("node_filesystem_files", "mountpoint", 4, Constant(6_553_600.0), WHOLE),
    by("node_filesystem_readonly", "mountpoint", 4, Constant(0.0), WHOLE),
    // 50: memory.
    memory("MemFree", 3e5, 20_000),
    memory("MemAvailable", 5e6, 20_000),
    memory("Cached", 2e6, 4000),
    memory("Active", 1e6, 9000),
    memory("Inactive", 2e6, 9000),
    memory("AnonPages", 1e6, 9000),
    memory("Dirty", 300.0, 200),
    memory("Slab", 1e5, 60),
    memory("Mapped", 2e5, 100),
    memory("Buffers", 1e5, 20),
    memory("Committed_AS", 3e6, 3000),
    memory("PageTables", 1e4, 30),
    memory("KernelStack", 3e3, 5),
    by("node_memory_other_bytes", "field", 37, Constant(1_048_576.0), WHOLE),
    // 60: protocols and the kernel.
    by("node_netstat_segments_total", "field", 8, Counter(10, 6000), WHOLE),
    by("node_netstat_octets_total", "field", 2, Counter(20_000, 4_000_000), WHOLE),
    by("node_netstat_seldom_total", "field", 10, Rare(15), WHOLE),
    by("node_netstat_never_total", "field", 30, Constant(7.0), WHOLE),
    by("node_sockstat_in_use", "field", 10, Level(60, 4), WHOLE),
    // 60: the rest of the kernel.
    one("node_load1", Walk(120.0, 30), HUNDREDTHS),
    one("node_load5", Walk(110.0, 8), HUNDREDTHS),
    one("node_load15", Walk(100.0, 3), HUNDREDTHS),
    one("node_time_seconds", Counter(14_990, 15_010), 1000.0),
    one("node_context_switches_total", Counter(9000, 90_000), WHOLE),
    one("node_intr_total", Counter(6000, 60_000), WHOLE),
    one("node_forks_total", Idle(0, 40, 2), WHOLE),
    one("node_procs_running", Gauge(6), WHOLE),
    one("node_filefd_allocated", Level(400, 3), WHOLE),
    by("node_vmstat_total", "field", 5, Counter(0, 20_000), WHOLE),
    by("node_pressure_waiting_seconds_total", "resource", 6, Counter(0, 90_000), 1e6),
    by("node_softnet_processed_total", "cpu", 4, Counter(100, 9000), WHOLE),
    by("node_softnet_dropped_total", "cpu", 4, Constant(0.0), WHOLE),
    by("node_info", "kind", 32, Constant(1.0), WHOLE),
    // 100: the exporter's own runtime, and what never changes.
    by("go_memstats_bytes", "field", 12, Walk(4e6, 900_000), WHOLE),
    by("go_memstats_seldom_bytes", "field", 8, Level(9_000_000, 40), WHOLE),
    by("process_total", "field", 4, Counter(0, 6), WHOLE),
    by("node_constant", "kind", 76, Constant(65_536.0), WHOLE),
];

/// The series of so many targets, a shard each, at times of their own within a step.
pub(crate) fn shards(targets: usize, step: i64) -> Vec<Vec<Series>> {
    (0..targets).map(|target| page(target, target as i64 * 7919 % step)).collect()
}

/// The same in one shard, so many of each page.
pub(crate) fn some(targets: usize, each: usize) -> Vec<Vec<Series>> {
    vec![(0..targets).flat_map(|target| page(target, 0).into_iter().take(each)).collect()]
}

/// Labels that name one series of a target.
pub(crate) fn instance(target: usize) -> String {
    format!("node-{target:03}.example:9100")
}

fn page(target: usize, delay: i64) -> Vec<Series> {
    let instance = instance(target);
    let mut series = Vec::with_capacity(SERIES);
    for Family(name, label, count, (second, value), course, divisor) in &FAMILIES {
        for number in 0..*count {
            let number = format!("{label}-{number}");
            let mut labels = vec![("__name__", *name), ("instance", instance.as_str()), ("job", "node")];
            labels.extend((!label.is_empty()).then_some((*label, number.as_str())));
            labels.extend((!second.is_empty()).then_some((*second, *value)));
            let place = target * SERIES + series.len();
            series.push(Series::new(&labels, *course, place).divided(*divisor).delayed(delay));
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn a_target_has_as_many_series_as_a_real_one_and_each_is_another() {
        let shards = super::shards(2, 15_000);
        assert_eq!(shards.iter().map(Vec::len).collect::<Vec<_>>(), [super::SERIES; 2]);
        let labels: HashSet<_> = shards.iter().flatten().map(|series| series.labels().to_vec()).collect();
        assert_eq!(labels.len(), 2 * super::SERIES);
    }

    #[test]
    fn as_on_a_real_page_most_values_rest() {
        let mut page = super::page(3, 0);
        let resting = page.iter_mut().filter_map(|series| {
            let first = series.next();
            (0..40).all(|_| series.next() == first).then_some(())
        });
        let resting = resting.count();
        assert!((250..350).contains(&resting), "{resting}");
    }
}
