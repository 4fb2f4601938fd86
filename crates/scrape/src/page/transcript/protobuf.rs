//! Protobuf pages.

use std::ops::ControlFlow;

use metricsd_codec::exposition::MetricKind;
use metricsd_codec::metric_family::{
    Family, FamilyError, FamilyReader, FamilySample, Histograms, Metric, Role, write_key,
};
use metricsd_model::{FailureReason, ScrapeOptions};

use super::Transcript;
use crate::client::ScrapeError;
use crate::page::classic::{Classic, Part};
use crate::page::item::{Example, Item, fit};

fn unreadable(error: &FamilyError) -> ScrapeError {
    ScrapeError::new(FailureReason::Parse, error.to_string())
}

/// Reads a page to its end.
///
/// # Errors
/// A page that does not read, or that says more than fits within the limits; what came before is transcribed.
pub(super) fn read<'p>(
    transcript: &mut Transcript<'p>,
    page: &'p [u8],
    options: &ScrapeOptions,
) -> Result<(), ScrapeError> {
    let wanted = Histograms {
        native: options.scrape_native_histograms,
        classic_too: options.always_scrape_classic_histograms,
    };
    let mut scribe =
        Scribe { transcript, options, wanted, native: false, classic: Classic::default(), fault: None };
    let mut families = FamilyReader::new(page);
    while let Some(family) = families.next_family().map_err(|error| unreadable(&error))? {
        scribe.transcript.describe(family.kind, family.name, family.help, family.unit);
        let mut metrics = family.metrics();
        while let Some(metric) = metrics.next_metric().map_err(|error| unreadable(&error))? {
            scribe.metric(&family, &metric)?;
        }
    }
    Ok(())
}

struct Scribe<'o, 'p> {
    transcript: &'o mut Transcript<'p>,
    options: &'o ScrapeOptions,
    wanted: Histograms,
    /// Whether the metric at hand has a native histogram.
    native: bool,
    /// The classic histogram of the metric at hand.
    classic: Classic<'p>,
    /// Why the page is not read further.
    fault: Option<ScrapeError>,
}

impl<'p> Scribe<'_, 'p> {
    fn metric(&mut self, family: &Family<'p>, metric: &Metric<'p>) -> Result<(), ScrapeError> {
        let converts =
            family.kind == MetricKind::Histogram && self.options.convert_classic_histograms_to_nhcb;
        let keeps = self.options.always_scrape_classic_histograms;
        let before = self.transcript.place();
        self.native = false;
        let told = metric.visit(self.wanted, |sample| {
            let mut item = self.item(metric, &sample);
            if let Some(part) = part_of(sample.role).filter(|_| converts) {
                self.classic.take(part, &mut item, keeps);
            }
            match self.line(family, metric, sample.role, item) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    self.fault = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        let flow = told.map_err(|error| unreadable(&error))?;
        if let (ControlFlow::Break(()), Some(fault)) = (flow, self.fault.take()) {
            return Err(fault);
        }
        if !self.classic.is_empty() {
            if !self.native {
                if !keeps {
                    self.transcript.take_back(before);
                }
                let item = self.classic.convert(self.options);
                self.line(family, metric, Role::Native, item)?;
            }
            self.classic.clear();
        }
        Ok(())
    }

    fn item(&mut self, metric: &Metric<'p>, sample: &FamilySample<'_, 'p>) -> Item<'p> {
        let native = sample.histogram.as_ref().map(|histogram| {
            self.native = true;
            Box::new(fit(histogram.clone(), sample.integer, self.options))
        });
        Item {
            value: sample.value,
            native,
            timestamp: metric.timestamp,
            created: sample.created.filter(|_| self.options.created_timestamp_zero),
            examples: sample.exemplars.iter().copied().map(Example::Family).collect(),
        }
    }

    fn line(
        &mut self,
        family: &Family<'p>,
        metric: &Metric<'p>,
        role: Role,
        item: Item<'p>,
    ) -> Result<(), ScrapeError> {
        write_key(&mut self.transcript.text, family, metric, role).map_err(|error| unreadable(&error))?;
        self.transcript.end_line(item)
    }
}

fn part_of(role: Role) -> Option<Part> {
    match role {
        Role::Bucket(bound) => Some(Part::Bucket(bound)),
        Role::Count => Some(Part::Count),
        Role::Sum => Some(Part::Sum),
        Role::Plain | Role::Quantile(_) | Role::Native => None,
    }
}
