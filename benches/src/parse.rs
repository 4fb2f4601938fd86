//! How fast pages are read: a node_exporter's page, and a made-up one of many series in every format. Each is read by a
//! target that sees it for the first time, which names every series, and by one that knows its lines, which is what a
//! scrape is almost always. The figures are of processor time, on one thread.

mod made_up;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use metricsd_codec::exposition::{Entry, Format, Parser};
use metricsd_ingest::Limits;
use metricsd_model::{CollectionMethod, MetricSource, PromDuration, ScrapeConfig, ScrapeOptions, TargetSpec};
use metricsd_ports::memory::MemoryStore;
use metricsd_scrape::PageTrial;

use crate::system::own_seconds;

/// What is read, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A page to fetch beside the made-up one, such as a node_exporter's.
    #[arg(long)]
    url: Option<String>,
    /// Series of the made-up page.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    series: u32,
    /// Processor seconds of each figure.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// A folder to which the pages are written, so that others can read them too.
    #[arg(long)]
    write: Option<PathBuf>,
}

struct Page {
    name: &'static str,
    format: Format,
    bytes: Vec<u8>,
    native: bool,
}

/// Measures every page.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut pages = Vec::new();
    if let Some(url) = &options.url {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let bytes = client.get(url).send().await?.error_for_status()?.bytes().await?.to_vec();
        pages.push(Page { name: "node_exporter.txt", format: Format::Text, bytes, native: false });
    }
    pages.extend(made_up::pages(options.series as usize));
    println!(
        "{:<18} {:>12} {:>8}  {:<22} {:>8} {:>14}",
        "page", "bytes", "samples", "read", "MB/s", "M samples/s"
    );
    for page in &pages {
        if let Some(folder) = &options.write {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(page.name), &page.bytes)?;
        }
        measure(page, options.seconds)?;
    }
    Ok(())
}

fn measure(page: &Page, seconds: f64) -> Result<()> {
    let mut trial = trial(page.native);
    let mut at = 1_800_000_000_000;
    let samples = trial.read(&page.bytes, page.format, at)?;
    anyhow::ensure!(samples > 0, "nothing of {} is stored", page.name);
    if page.format != Format::Protobuf {
        figure(page, samples, "lines alone", seconds, || lines(page))?;
    }
    figure(page, samples, "a first time", seconds, || {
        black_box(self::trial(page.native).read(&page.bytes, page.format, at)?);
        Ok(())
    })?;
    figure(page, samples, "lines known", seconds, || {
        at += 1;
        let again = trial.read(black_box(&page.bytes), page.format, at)?;
        anyhow::ensure!(again == samples, "{again} samples of {samples}");
        Ok(())
    })
}

/// Repeats for so many processor seconds.
fn figure(
    page: &Page,
    samples: u64,
    what: &str,
    seconds: f64,
    mut once: impl FnMut() -> Result<()>,
) -> Result<()> {
    once()?;
    let (start, mut rounds) = (own_seconds(), 0u32);
    let mut used = 0.0;
    while used < seconds {
        once()?;
        rounds += 1;
        used = own_seconds() - start;
    }
    let each = used / f64::from(rounds);
    let (megabytes, millions) = (page.bytes.len() as f64 / 1e6 / each, samples as f64 / 1e6 / each);
    println!(
        "{:<18} {:>12} {samples:>8}  {what:<22} {megabytes:>8.0} {millions:>14.2}",
        page.name,
        page.bytes.len()
    );
    Ok(())
}

/// Checks and cuts every line, without looking a series up.
fn lines(page: &Page) -> Result<()> {
    let mut parser = Parser::new(black_box(&page.bytes), page.format);
    while let Some(entry) = parser.next_entry().context(page.name)? {
        if let Entry::Sample(sample) = entry {
            black_box((sample.series, sample.value));
        }
    }
    Ok(())
}

fn trial(native: bool) -> PageTrial {
    let limits = Limits {
        max_active_series_per_source: 0,
        max_new_series_per_minute_per_source: 0,
        ..Limits::default()
    };
    let options = ScrapeOptions { scrape_native_histograms: native, ..ScrapeOptions::default() };
    let scrape_config = ScrapeConfig {
        target_url: "http://page:9100".to_owned(),
        scrape_interval: PromDuration::from_secs(15),
        scrape_timeout: PromDuration::from_secs(10),
        metrics_path: "/metrics".to_owned(),
        scheme: "http".to_owned(),
        authentication: None,
        honor_labels: false,
        honor_timestamps: true,
        options: Arc::new(options),
    };
    let spec = TargetSpec {
        target_id: "page".to_owned(),
        source_id: "bench".to_owned(),
        source_type: MetricSource::Application,
        collection_method: CollectionMethod::PullScraping,
        scrape_config,
        labels: std::collections::BTreeMap::new(),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    };
    PageTrial::new(spec, limits, Arc::new(MemoryStore::new()))
}
