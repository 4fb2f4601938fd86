//! Line protocols with the real binary: what raw requests and sockets bring equals what queries say, and those who
//! misbehave harm nobody.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Folder, Node, Start, eventually, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

struct Service {
    node: Node,
    graphite: String,
    statsd: String,
    _folder: Folder,
}

async fn start(settings: &[(&'static str, &str)]) -> Service {
    let folder = Folder::new();
    let [graphite, statsd] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let mut start = Start::new(&folder.0)
        .env("METRICSD_INFLUX_ENABLED", "true")
        .env("METRICSD_GRAPHITE_LISTEN", graphite.clone())
        .env("METRICSD_STATSD_LISTEN", statsd.clone())
        .env("METRICSD_STATSD_FLUSH_INTERVAL", "300ms");
    for (name, value) in settings {
        start = start.env(name, *value);
    }
    let node = start.start().await;
    Service { node, graphite, statsd, _folder: folder }
}

async fn udp(address: &str, datagrams: &[&str]) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for datagram in datagrams {
        socket.send_to(datagram.as_bytes(), address).await.unwrap();
    }
}

impl Service {
    /// Waits until a selector finds exactly these values.
    async fn finds(&self, selector: &str, expected: &[(serde_json::Value, f64)]) {
        let what = format!("{selector} {expected:?}");
        let mut expected: Vec<String> =
            expected.iter().map(|(labels, value)| format!("{labels} {value}")).collect();
        expected.sort();
        eventually(&what, 10, async || {
            let mut found: Vec<String> = self
                .node
                .query(selector)
                .await
                .iter()
                .map(|(labels, value)| format!("{labels} {value}"))
                .collect();
            found.sort();
            (found == expected).then_some(())
        })
        .await;
    }

    /// One of metricsd's own counters under labels.
    async fn counted(&self, series: &str) -> f64 {
        let page =
            self.node.http().get(self.node.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or(0.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn graphite_lines_come_back_by_query() {
    let service = start(&[("METRICSD_GRAPHITE_RULES", "servers.*.** name=$2 host=$1,debug.** drop")]).await;
    let now = chrono::Utc::now().timestamp();
    let mut socket = TcpStream::connect(&service.graphite).await.unwrap();
    let lines = format!(
        "servers.a.cpu.load 1.5 {now}\ndisk.used;path=/ 7 {now}\nbad\nlate 1 4102444800\ndebug.x 1 {now}\ncut.off 3"
    );
    // In two pieces, neither of which ends with a line.
    let (first, second) = lines.split_at(20);
    socket.write_all(first.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    socket.write_all(second.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    udp(&service.graphite, &[&format!("by.udp 1 {now}\nby.udp.too 2 -1\n"), "\u{0}\u{1}"]).await;
    service.finds("cpu_load", &[(json!({"__name__": "cpu_load", "host": "a"}), 1.5)]).await;
    service.finds("disk_used", &[(json!({"__name__": "disk_used", "path": "/"}), 7.0)]).await;
    service.finds("cut_off", &[(json!({"__name__": "cut_off"}), 3.0)]).await;
    service.finds("by_udp", &[(json!({"__name__": "by_udp"}), 1.0)]).await;
    service.finds("by_udp_too", &[(json!({"__name__": "by_udp_too"}), 2.0)]).await;
    assert!(service.node.query("late").await.is_empty(), "the clock of its sender is wrong");
    let dropped = |reason: &str| {
        format!("metricsd_listener_dropped_lines_total{{protocol=\"graphite\",reason=\"{reason}\"}}")
    };
    assert_eq!(service.counted(&dropped("malformed")).await, 2.0);
    assert_eq!(service.counted(&dropped("rule")).await, 1.0);
    let (_, jobs) = service.node.get("/api/v1/metrics/jobs").await;
    assert!(jobs.as_array().unwrap().iter().all(|job| job["source_id"] == "graphite"), "{jobs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statsd_is_added_up_and_flushed() {
    let service = start(&[("METRICSD_STATSD_LABELS", "host=h")]).await;
    udp(
        &service.statsd,
        &["hits:1|c\nhits:2:3|c|@0.5\ntemp:20|g\ntemp:-5|g", "users:a|s\nusers:b|s\nusers:a|s|#k:v"],
    )
    .await;
    udp(&service.statsd, &["_e{1,1}:a|b", "nonsense", "took:500|ms|#route:/x\ntook:1500|ms|#route:/x"]).await;
    let mut socket = TcpStream::connect(&service.statsd).await.unwrap();
    socket.write_all(b"hits:4|c\n").await.unwrap();
    service.finds("hits", &[(json!({"__name__": "hits", "host": "h"}), 15.0)]).await;
    service.finds("temp", &[(json!({"__name__": "temp", "host": "h"}), 15.0)]).await;
    service.finds("histogram_count(took)", &[(json!({"host": "h", "route": "/x"}), 2.0)]).await;
    service.finds("histogram_sum(took)", &[(json!({"host": "h", "route": "/x"}), 2.0)]).await;
    service.finds("max_over_time(users{k=\"\"}[1m])", &[(json!({"host": "h"}), 2.0)]).await;
    let dropped = |reason: &str| {
        format!("metricsd_listener_dropped_lines_total{{protocol=\"statsd\",reason=\"{reason}\"}}")
    };
    assert_eq!(service.counted(&dropped("no_metric")).await, 1.0);
    assert_eq!(service.counted(&dropped("malformed")).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_heard_is_stored_when_the_process_ends() {
    let folder = Folder::new();
    let [graphite, statsd] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let start = Start::new(&folder.0)
        .env("METRICSD_GRAPHITE_LISTEN", graphite.clone())
        .env("METRICSD_STATSD_LISTEN", statsd.clone())
        .env("METRICSD_STATSD_FLUSH_INTERVAL", "1h");
    let mut node = start.start().await;
    let mut socket = TcpStream::connect(&graphite).await.unwrap();
    socket.write_all(b"last.word 1\n").await.unwrap();
    udp(&statsd, &["hits:7|c"]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (took, status) = node.terminate().await;
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
    let node = start.start().await;
    assert_eq!(node.query("hits").await[0].1, 7.0);
    assert_eq!(node.query("last_word").await[0].1, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_misbehave_harm_nobody() {
    let service = start(&[
        ("METRICSD_GRAPHITE_MAX_CONNECTIONS", "20"),
        ("METRICSD_GRAPHITE_MAX_LINE_BYTES", "1KiB"),
        ("METRICSD_GRAPHITE_IDLE_TIMEOUT", "3s"),
    ])
    .await;
    // One that drips a line without end, twenty that say nothing, and one with a line that is too long.
    let mut drip = TcpStream::connect(&service.graphite).await.unwrap();
    drip.write_all(b"sl").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..19 {
        silent.push(TcpStream::connect(&service.graphite).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let mut long = TcpStream::connect(&service.graphite).await.unwrap();
    let mut bytes = vec![b'x'; 300 << 10];
    bytes.extend_from_slice(b" 1\nafter.long 2\n");
    long.write_all(&bytes).await.unwrap();
    service.finds("after_long", &[(json!({"__name__": "after_long"}), 2.0)]).await;
    let metric = "metricsd_listener_dropped_lines_total{protocol=\"graphite\",reason=\"too_long\"}";
    assert_eq!(service.counted(metric).await, 1.0);
    let metric = "metricsd_listener_closed_connections_total{protocol=\"graphite\",reason=\"displaced\"}";
    assert!(service.counted(metric).await >= 1.0, "the one that was silent for longest made room");
    let _ = drip.write_all(b"ow").await;
    let closed = tokio::time::timeout(Duration::from_secs(5), drip.read(&mut [0; 8])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "a line that does not end is not waited for");
    for mut socket in silent {
        let closed = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut [0; 8])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "silence is not waited for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn influx_lines_come_back_by_query() {
    let service = start(&[]).await;
    let now = chrono::Utc::now().timestamp();
    let body = format!("cpu,host=a usage=1.5,idle=2i {now}\nbad\n");
    let request = service.node.http().post(service.node.url("/write?db=d&precision=s")).body(body);
    let (status, answer) = service.node.send(request).await;
    assert_eq!(status, 400);
    assert_eq!(answer["error"], "partial write: line 2: unable to parse 'bad': missing fields dropped=1");
    service.finds("cpu_usage", &[(json!({"__name__": "cpu_usage", "db": "d", "host": "a"}), 1.5)]).await;
    service.finds("cpu_idle", &[(json!({"__name__": "cpu_idle", "db": "d", "host": "a"}), 2.0)]).await;
}
