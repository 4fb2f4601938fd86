//! Reads any text as a line of Graphite and of StatsD.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metricsd_codec::graphite::{GraphiteLine, Mapping};
use metricsd_codec::line_names::{Names, Rules};
use metricsd_codec::remote_write::{BodyWriter, WriteScanner};
use metricsd_codec::statsd::Item;

fuzz_target!(|text: &str| {
    if let Ok(line) = GraphiteLine::parse(text) {
        let rules = Rules::parse(["a.*.b name=$1", "x.** drop"]).unwrap_or_default();
        let mut body = BodyWriter::new();
        let written = Mapping { names: Names::Mapped, rules }.write(&line, 0, &mut body);
        let body = body.into_bytes();
        assert_eq!(WriteScanner::new(&body).next_series().map(|series| series.is_some()), Ok(written));
    }
    if let Ok(Item::Metric(metric)) = Item::parse(text) {
        assert!(metric.values().all(|value| value.is_ok()));
        assert!(metric.rate > 0.0 && metric.rate <= 1.0);
        let _ = metric.tags().count();
    }
    let _ = Rules::parse([text]).map(|rules| rules.apply(text));
});
