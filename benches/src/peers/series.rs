//! The series that every server gets: 100 000 of the kinds that people have, as remote-write requests made beforehand.

use anyhow::Result;
use bytes::Bytes;
use metricsd_codec::remote_write::message::{Label, Sample, TimeSeries, WriteRequest};
use metricsd_codec::remote_write::pack;

/// Hosts; everything that follows is so many series a host.
const HOSTS: usize = 100;
const BOUNDS: [&str; 12] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
const MODES: [&str; 8] = ["idle", "user", "system", "iowait", "irq", "softirq", "nice", "steal"];
const CODES: [&str; 4] = ["200", "302", "404", "500"];

/// How a value comes about.
#[derive(Clone, Copy)]
enum Course {
    /// Grows by between so much and so much a step, in whole numbers.
    Counter(u64, u64),
    /// Goes up and down below so much.
    Gauge(u64),
    /// Stays.
    Constant(f64),
}

/// One series, its value so far, and the seed of what comes.
struct Source {
    course: Course,
    state: u64,
    value: f64,
}

impl Source {
    /// The next value; the same run always has the same.
    fn next(&mut self) -> f64 {
        // xorshift64: cheap, and good enough that values do not compress better than real ones.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        match self.course {
            Course::Counter(least, most) => self.value += (least + self.state % (most - least + 1)) as f64,
            Course::Gauge(most) => self.value = (self.state % most) as f64,
            Course::Constant(value) => self.value = value,
        }
        self.value
    }
}

/// Requests by sender and in order of time: a sender has the same series in every step.
pub(crate) struct Load {
    /// `senders[sender][step]`, packed.
    pub(crate) senders: Vec<Vec<Bytes>>,
    /// Series in all.
    pub(crate) series: usize,
    /// Samples in all.
    pub(crate) samples: usize,
    /// Bytes in all.
    pub(crate) bytes: usize,
}

impl Load {
    /// Samples every `step` milliseconds from `start` on, `steps` times, in requests of some 10 000 samples.
    pub(crate) fn prepare(start: i64, step: i64, steps: usize) -> Result<Self> {
        let series = all_series();
        let count = series.len();
        let shards = count.div_ceil(10_000);
        let mut parts: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
        for (place, one) in series.into_iter().enumerate() {
            parts[place % shards].push(one);
        }
        let senders: Vec<Vec<Bytes>> =
            parts.into_iter().map(|part| bodies(part, start, step, steps)).collect::<Result<_>>()?;
        let bytes = senders.iter().flatten().map(Bytes::len).sum();
        Ok(Self { senders, series: count, samples: count * steps, bytes })
    }
}

fn bodies(part: Vec<(Vec<Label>, Course)>, start: i64, step: i64, steps: usize) -> Result<Vec<Bytes>> {
    let mut sources = Vec::with_capacity(part.len());
    let mut request = WriteRequest::default();
    for (place, (labels, course)) in part.into_iter().enumerate() {
        let state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(place as u64 + 1);
        sources.push(Source { course, state, value: 0.0 });
        request.timeseries.push(TimeSeries {
            labels,
            samples: vec![Sample::default()],
            ..TimeSeries::default()
        });
    }
    let body = |turn: usize| {
        let timestamp = start + step * turn as i64;
        for (series, source) in request.timeseries.iter_mut().zip(&mut sources) {
            series.samples[0] = Sample { value: source.next(), timestamp };
        }
        Ok(Bytes::from(pack(&request.to_bytes())?))
    };
    (0..steps).map(body).collect()
}

fn all_series() -> Vec<(Vec<Label>, Course)> {
    let mut series = Vec::with_capacity(100_000);
    for host in 0..HOSTS {
        let instance = format!("host-{host:03}:8080");
        let mut add = |name: &str, labels: &[(&str, &str)], course: Course| {
            let mut pairs = vec![("__name__", name), ("instance", instance.as_str()), ("job", "shop")];
            pairs.extend_from_slice(labels);
            pairs.sort_unstable();
            series.push((Label::list(pairs), course));
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
