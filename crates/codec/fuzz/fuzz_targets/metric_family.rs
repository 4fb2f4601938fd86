//! Whatever a protobuf page holds, it is read to its end or refused, and every key that is made of it comes apart again.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use metricsd_codec::exposition::{SeriesError, parse_series};
use metricsd_codec::metric_family::{FamilyError, FamilyReader, Histograms, write_key};

fuzz_target!(|page: &[u8]| {
    for native in [false, true] {
        for classic_too in [false, true] {
            let _ = read(page, Histograms { native, classic_too });
        }
    }
});

fn read(page: &[u8], wanted: Histograms) -> Result<(), FamilyError> {
    let mut families = FamilyReader::new(page);
    while let Some(family) = families.next_family()? {
        let mut metrics = family.metrics();
        while let Some(metric) = metrics.next_metric()? {
            let _ = metric.visit(wanted, |sample| {
                let mut key = String::new();
                if write_key(&mut key, &family, &metric, sample.role).is_ok() {
                    assert!(!matches!(parse_series(&key), Err(SeriesError::Syntax(_))), "{key}");
                }
                for exemplar in sample.exemplars {
                    exemplar.labels();
                }
                ControlFlow::Continue(())
            })?;
        }
    }
    Ok(())
}
