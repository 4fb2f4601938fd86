//! Reads series and writes them into the file, on a thread that may wait for the client.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use metricsd_files::write::base_of;
use metricsd_files::{Compression, FileError, FileFormat, FileWriter, SeriesRows};
use metricsd_model::{LabelSet, METRIC_NAME, Matcher, MetricType, Millis, Series};
use metricsd_ports::{ErrorKind, PortError, SampleSource, SelectLimits, SelectedSeries, Selection};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::warn;

use super::pack::Packer;
use super::plan::Group;
use crate::Problem;

/// Samples that one selection is to hold, and may hold.
const WANTED: usize = 200_000;
const MOST: usize = 1_000_000;

/// Numbers that a native histogram takes the place of.
const HISTOGRAM: usize = 64;

/// Series of one selection.
const MAX_GROUP: usize = 2_000;

/// Series of the first selection, when nobody knows how many samples each has.
const FIRST_GROUP: usize = 100;

/// Metrics of one selector.
const MAX_METRICS: usize = 1_000_000;

/// Samples that are written before the client gets them.
const SLICE: usize = 4_096;

/// Bytes of a piece, at least; and pieces that wait for the client.
const PIECE: usize = 128 << 10;
const WAITING: usize = 4;

/// What is exported.
pub(super) struct Export {
    pub(super) source: Arc<dyn SampleSource>,
    pub(super) selectors: Vec<Vec<Matcher>>,
    pub(super) start: Millis,
    pub(super) end: Millis,
    pub(super) format: FileFormat,
    pub(super) compression: Compression,
    /// Series of one metric.
    pub(super) max_series: usize,
    /// How long the client may leave a piece where it is.
    pub(super) patience: Duration,
}

/// Why it ended before its end.
enum Broken {
    /// The client has gone, or does not read.
    Gone,
    Failed(String),
}

impl From<PortError> for Broken {
    fn from(error: PortError) -> Self {
        Self::Failed(error.chain())
    }
}

impl From<FileError> for Broken {
    fn from(error: FileError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

type Piece = io::Result<Bytes>;

/// Starts; fails where not even the names of the metrics can be had. An error later breaks the answer off, so that
/// nobody takes a part for the whole.
pub(super) async fn start(
    export: Export,
    slot: OwnedSemaphorePermit,
) -> Result<impl Stream<Item = Piece>, Problem> {
    let mut names = Vec::new();
    for matchers in &export.selectors {
        names.push(export.source.label_values(METRIC_NAME, matchers, MAX_METRICS).await?);
    }
    let (sender, receiver) = mpsc::channel::<Bytes>(WAITING);
    let whole = Arc::new(AtomicBool::new(false));
    let ended = whole.clone();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _slot = slot;
        // The channel is open until it is known how it ended.
        let _open = sender.clone();
        match Running::new(export, runtime, sender).and_then(|running| running.run(names)) {
            Ok(()) => ended.store(true, Ordering::Release),
            Err(Broken::Failed(message)) => warn!(error = message, "an export broke off"),
            Err(Broken::Gone) => {}
        }
    });
    Ok(futures::stream::unfold(Some((receiver, whole)), async |state| {
        let (mut receiver, whole) = state?;
        match receiver.recv().await {
            Some(piece) => Some((Ok(piece), Some((receiver, whole)))),
            None if whole.load(Ordering::Acquire) => None,
            None => Some((Err(io::Error::other("the export broke off")), None)),
        }
    }))
}

struct Running {
    export: Export,
    runtime: Handle,
    sender: mpsc::Sender<Bytes>,
    writer: FileWriter,
    packer: Packer,
    ready: Vec<u8>,
    /// Series that a selection is to ask for, by what those before held.
    group: usize,
    /// Whether samples of this metric were seen and are plain numbers.
    plain: bool,
}

impl Running {
    fn new(export: Export, runtime: Handle, sender: mpsc::Sender<Bytes>) -> Result<Self, Broken> {
        let (writer, packer) = (FileWriter::new(export.format)?, Packer::new(export.compression)?);
        Ok(Self {
            export,
            runtime,
            sender,
            writer,
            packer,
            ready: Vec::new(),
            group: FIRST_GROUP,
            plain: false,
        })
    }

    fn run(mut self, names: Vec<Vec<String>>) -> Result<(), Broken> {
        // The metrics of one family together, whichever selectors match them.
        let mut ordered: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (selector, names) in names.iter().enumerate() {
            for name in names {
                ordered.entry((base_of(name), name)).or_default().push(selector);
            }
        }
        for ((_, name), selectors) in ordered {
            self.plain = false;
            for selector in selectors {
                self.metric(selector, name)?;
            }
        }
        self.writer.finish()?;
        let bytes = self.writer.take();
        self.ready.extend(self.packer.push(bytes)?);
        let packer = std::mem::replace(&mut self.packer, Packer::None(Vec::new()));
        self.ready.extend(packer.finish()?);
        self.send(0)
    }

    /// All series of one metric.
    fn metric(&mut self, selector: usize, name: &str) -> Result<(), Broken> {
        let mut matchers = self.export.selectors.get(selector).cloned().unwrap_or_default();
        matchers.push(Matcher::equal(METRIC_NAME, name));
        let limit = self.export.max_series;
        let mut series = self.runtime.block_on(self.export.source.series(&matchers, limit + 1))?;
        if series.len() > limit {
            let message =
                format!("{name} has more than {limit} series (limits.max_query_series); narrow match[]");
            return Err(Broken::Failed(message));
        }
        // What another selector matched already is written once.
        let earlier = self.export.selectors.get(..selector).unwrap_or_default();
        let written = |series: &Arc<Series>| {
            earlier
                .iter()
                .any(|matchers| matchers.iter().all(|matcher| matcher.matches_labels(&series.labels)))
        };
        series.retain(|series| !written(series));
        let mut waiting = VecDeque::from([Group { matchers, series }]);
        while let Some(group) = waiting.pop_front() {
            if group.series.is_empty() {
                continue;
            }
            if group.series.len() > self.group
                && let Some(parts) = group.split(self.group)
            {
                put_first(&mut waiting, parts);
                continue;
            }
            match self.select(&group, self.export.start, self.export.end) {
                Ok(selected) => self.write_all(&group, selected, false)?,
                Err(error) if error.kind() == ErrorKind::Limit => {
                    self.group = (group.series.len() / 2).max(1);
                    match group.split(self.group) {
                        Some(parts) => put_first(&mut waiting, parts),
                        None => self.by_time(&group)?,
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A series that has more samples than one selection may hold, in pieces of time.
    fn by_time(&mut self, group: &Group) -> Result<(), Broken> {
        let mut waiting = VecDeque::from([(self.export.start, self.export.end)]);
        let mut goes_on = false;
        while let Some((start, end)) = waiting.pop_front() {
            match self.select(group, start, end) {
                Ok(selected) => {
                    let some = !selected.is_empty();
                    self.write_all(group, selected, goes_on)?;
                    goes_on |= some;
                }
                Err(error) if error.kind() == ErrorKind::Limit && start < end => {
                    let middle = start + (end - start) / 2;
                    waiting.push_front((middle + 1, end));
                    waiting.push_front((start, middle));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn select(&self, group: &Group, start: Millis, end: Millis) -> Result<Vec<SelectedSeries>, PortError> {
        let native = !self.plain && group.series.iter().any(|series| may_be_native(series));
        let max_samples = if native { MOST / HISTOGRAM } else { MOST };
        let limits = SelectLimits { max_series: usize::MAX >> 1, max_samples };
        let selection = Selection { matchers: group.matchers.clone(), start, end, limits };
        self.runtime.block_on(self.export.source.select(&selection))
    }

    fn write_all(
        &mut self,
        group: &Group,
        selected: Vec<SelectedSeries>,
        goes_on: bool,
    ) -> Result<(), Broken> {
        let known: HashMap<&LabelSet, &Arc<Series>> =
            group.series.iter().map(|series| (&series.labels, series)).collect();
        let histograms: usize = selected.iter().map(|series| series.histograms.len()).sum();
        let numbers: usize = selected.iter().map(|series| series.timestamps.len()).sum();
        let samples = numbers + histograms * HISTOGRAM;
        self.plain = histograms == 0 && (self.plain || numbers > 0);
        if let Some(fitting) = (WANTED * group.series.len()).checked_div(samples) {
            // Not faster than what was seen allows.
            self.group = fitting.clamp(1, MAX_GROUP).min(self.group.saturating_mul(4)).max(1);
        }
        for one in &selected {
            if let Some(series) = known.get(&one.labels) {
                self.write(series, one, goes_on)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, series: &Series, selected: &SelectedSeries, goes_on: bool) -> Result<(), Broken> {
        let mut histograms = selected.histograms.as_slice();
        for start in (0..selected.timestamps.len()).step_by(SLICE) {
            let end = (start + SLICE).min(selected.timestamps.len());
            let (here, later) = histograms.split_at(histograms.partition_point(|(at, _)| *at < end));
            histograms = later;
            let here: Vec<_> = here.iter().map(|(at, histogram)| (at - start, histogram.clone())).collect();
            self.writer.write(&SeriesRows {
                labels: &selected.labels,
                metric_type: selected.metric_type,
                unit: series.unit.as_deref(),
                help: series.help.as_deref(),
                goes_on: goes_on || start > 0,
                timestamps: selected.timestamps.get(start..end).unwrap_or_default(),
                values: selected.values.get(start..end).unwrap_or_default(),
                histograms: &here,
            })?;
            let bytes = self.writer.take();
            if !bytes.is_empty() {
                self.ready.extend(self.packer.push(bytes)?);
                self.send(PIECE)?;
            }
        }
        Ok(())
    }

    /// Hands out what is ready, where it is so much.
    fn send(&mut self, least: usize) -> Result<(), Broken> {
        if self.ready.is_empty() || self.ready.len() < least {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.ready));
        let sent = tokio::time::timeout(self.export.patience, self.sender.send(piece));
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Broken::Gone),
        }
    }
}

fn put_first(waiting: &mut VecDeque<Group>, parts: Vec<Group>) {
    for part in parts.into_iter().rev() {
        waiting.push_front(part);
    }
}

/// Whether samples of a series may be native histograms, as far as can be said before any was read.
fn may_be_native(series: &Series) -> bool {
    let name = series.labels.metric_name();
    match series.metric_type {
        MetricType::Histogram => base_of(name) == name,
        MetricType::Custom => true,
        MetricType::Counter | MetricType::Gauge | MetricType::Summary => false,
    }
}

#[cfg(test)]
mod tests;
