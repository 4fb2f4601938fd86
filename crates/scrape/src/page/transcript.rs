//! Pages that are not kept as they are: protobuf, and text of which more is wanted than its lines. Of those a list of
//! series is written, a line each, in the order of the page, with what each brings; then they go the way of text.

mod protobuf;
mod text;

use std::borrow::Cow;
use std::ops::Range;

use metricsd_codec::exposition::{Entry, Families, Format, MetricKind};
use metricsd_codec::metric_family::escape;
use metricsd_model::{FailureReason, ScrapeOptions};
use xxhash_rust::xxh3::Xxh3;

use super::item::Item;
use crate::client::ScrapeError;
use crate::naming::Namer;

/// A page as a list of series.
pub(super) struct Transcript<'p> {
    format: Format,
    /// The series, each followed by a line feed.
    pub(super) text: String,
    /// Where the line of each ends, and what it brings.
    pub(super) items: Vec<(u32, Item<'p>)>,
    families: Vec<Described>,
    /// Names, help texts and units of the families.
    said: String,
    /// Most bytes of `text` and of `said`.
    max_bytes: usize,
    max_items: usize,
    /// Why the page is not transcribed to its end, where it is not.
    pub(super) fault: Option<ScrapeError>,
}

/// What the page says of a family; ranges of `said`.
struct Described {
    kind: MetricKind,
    name: Range<usize>,
    help: Range<usize>,
    unit: Range<usize>,
}

impl<'p> Transcript<'p> {
    /// Whether a page is to be transcribed.
    pub(super) fn wanted(format: Format, options: &ScrapeOptions) -> bool {
        match format {
            Format::Protobuf => true,
            Format::OpenMetrics => {
                options.convert_classic_histograms_to_nhcb || options.created_timestamp_zero
            }
            Format::Text => options.convert_classic_histograms_to_nhcb,
        }
    }

    /// Transcribes a page, as far as it reads and as it fits within the limits.
    pub(super) fn of(page: &'p [u8], format: Format, namer: &Namer) -> Self {
        let limits = namer.limits();
        let mut transcript = Self {
            format,
            text: String::new(),
            items: Vec::new(),
            families: Vec::new(),
            said: String::new(),
            max_bytes: limits.max_page_bytes.min(u32::MAX as usize),
            max_items: limits.max_scrape_samples,
            fault: None,
        };
        let read = match format {
            Format::Protobuf => protobuf::read(&mut transcript, page, namer.options()),
            Format::Text | Format::OpenMetrics => text::read(&mut transcript, page, namer.options()),
        };
        if let Err(fault) = read {
            transcript.text.truncate(transcript.items.last().map_or(0, |(end, _)| *end as usize + 1));
            transcript.fault = Some(fault);
        }
        transcript
    }

    /// Adds a line whose series was appended to `text`.
    fn end_line(&mut self, item: Item<'p>) -> Result<(), ScrapeError> {
        if self.items.len() == self.max_items {
            let limit = self.max_items;
            let message = format!("the page has more than {limit} samples (limits.max_scrape_samples)");
            return Err(ScrapeError::new(FailureReason::Limit, message));
        }
        if self.text.len() >= self.max_bytes {
            let message = format!(
                "the names and labels of the page's series take more than {} bytes (limits.max_page_bytes)",
                self.max_bytes
            );
            return Err(ScrapeError::new(FailureReason::TooLarge, message));
        }
        self.items.push((self.text.len() as u32, item));
        self.text.push('\n');
        Ok(())
    }

    /// Takes back all lines from a place on; see [`Self::place`].
    fn take_back(&mut self, (text, items): (usize, usize)) {
        self.text.truncate(text);
        self.items.truncate(items);
    }

    fn place(&self) -> (usize, usize) {
        (self.text.len(), self.items.len())
    }

    /// Notes what is said of a family; the help text is not escaped yet.
    fn describe(&mut self, kind: MetricKind, name: &str, help: &str, unit: &str) {
        let mut say = |text: &str, escaped: bool| {
            let start = self.said.len();
            match escaped {
                true => escape(&mut self.said, text),
                false => self.said.push_str(text),
            }
            start..self.said.len()
        };
        let (name, help, unit) = (say(name, false), say(help, true), say(unit, false));
        self.families.push(Described { kind, name, help, unit });
    }

    /// What the page says of its families.
    pub(super) fn families(&self) -> Families<'_> {
        let mut families = Families::new(self.format);
        for family in &self.families {
            let said = |range: &Range<usize>| self.said.get(range.clone()).unwrap_or_default();
            let name = Cow::Borrowed(said(&family.name));
            families.observe(&Entry::Type { name: name.clone(), kind: family.kind });
            families.observe(&Entry::Help { name: name.clone(), text: said(&family.help) });
            families.observe(&Entry::Unit { name, unit: said(&family.unit) });
        }
        families
    }

    /// A hash of what the page says of its families.
    pub(super) fn metadata(&self) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(self.said.as_bytes());
        for family in &self.families {
            hash.update(family.kind.family_type().as_str().as_bytes());
            for range in [&family.name, &family.help, &family.unit] {
                hash.update(&range.end.to_le_bytes());
            }
        }
        hash.digest()
    }
}
