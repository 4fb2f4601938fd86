//! Clients that do not read what they asked for.

use metricsd_model::{MetricSource, SeriesId};
use metricsd_ports::memory::MemoryStore;
use tokio::sync::Semaphore;

use super::*;

fn export(patience: Duration) -> Export {
    Export {
        source: Arc::new(MemoryStore::new()),
        selectors: vec![vec![Matcher::equal("a", "b")]],
        start: 0,
        end: 1,
        format: FileFormat::Csv,
        compression: Compression::None,
        max_series: 10,
        patience,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_waited_for_only_so_long() {
    let slots = Arc::new(Semaphore::new(1));
    let (sender, mut receiver) = mpsc::channel(1);
    let runtime = Handle::current();
    let slot = slots.clone().try_acquire_owned().unwrap();
    let work = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let running = Running::new(export(Duration::from_millis(100)), runtime, sender);
        let mut running = running.unwrap_or_else(|_| panic!("it starts"));
        let mut send = || {
            running.ready = vec![1];
            running.send(0)
        };
        (send(), send())
    });
    let sent = tokio::time::timeout(Duration::from_secs(20), work).await.unwrap().unwrap();
    assert!(matches!(sent, (Ok(()), Err(Broken::Gone))));
    assert_eq!(slots.available_permits(), 1);
    assert_eq!(receiver.recv().await.as_deref(), Some([1].as_slice()));
}

#[test]
fn native_histograms_may_be_in_few_series() {
    let check = |name: &str, metric_type, expected: bool| {
        let labels = LabelSet::new([(METRIC_NAME, name)]).unwrap();
        let series = Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type,
            source_type: MetricSource::Application,
            source: "s".into(),
            target_id: "".into(),
            help: None,
            unit: None,
        };
        assert_eq!(may_be_native(&series), expected, "{name} {metric_type}");
    };
    check("h", MetricType::Histogram, true);
    check("h_bucket", MetricType::Histogram, false);
    check("c", MetricType::Custom, true);
    check("g", MetricType::Gauge, false);
}
