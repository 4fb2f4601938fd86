//! How fast pages are read on this machine: `cargo run --release -p metricsd-codec --example parse_speed [FILE]`.
//!
//! Without a file it makes a page of 10,000 samples in the manner of node_exporter. A file whose last line is
//! `# EOF` is read as OpenMetrics.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use metricsd_codec::exposition::{Entry, Families, Format, Parser, parse_series};

/// How long each figure is measured.
const WINDOW: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => made_up_page().into_bytes(),
    };
    let open_metrics = page.trim_ascii_end().ends_with(b"\n# EOF");
    let format = if open_metrics { Format::OpenMetrics } else { Format::Text };
    let samples = read(&page, format, false)?;
    println!("{format:?}, {} bytes, {samples} samples", page.len());
    for (what, take_apart) in [("known series", false), ("new series", true)] {
        let started = Instant::now();
        let mut rounds = 0u32;
        while started.elapsed() < WINDOW {
            black_box(read(black_box(&page), format, take_apart)?);
            rounds += 1;
        }
        let seconds = started.elapsed().as_secs_f64() / f64::from(rounds);
        let megabytes = page.len() as f64 / 1e6 / seconds;
        println!("{what}: {megabytes:.0} MB/s, {:.1} M samples/s", samples as f64 / 1e6 / seconds);
    }
    Ok(())
}

/// Reads the page as a scrape does: known series are found by their text, new ones are taken apart.
fn read(page: &[u8], format: Format, take_apart: bool) -> Result<usize, Box<dyn std::error::Error>> {
    let mut parser = Parser::new(page, format);
    let mut families = Families::new(format);
    let mut samples = 0;
    while let Some(entry) = parser.next_entry()? {
        families.observe(&entry);
        if let Entry::Sample(sample) = entry {
            samples += 1;
            black_box((sample.series, sample.value));
            if take_apart {
                let series = parse_series(sample.series)?;
                black_box(families.lookup(&series.name));
            }
        }
    }
    Ok(samples)
}

fn made_up_page() -> String {
    let mut page = String::new();
    for family in 0..250 {
        let name = format!("node_subsystem_{family}_seconds_total");
        let _ =
            writeln!(page, "# HELP {name} Seconds the subsystem spent in each mode.\n# TYPE {name} counter");
        for at in 0..40 {
            let (cpu, mode) =
                (at / 8, ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"][at % 8]);
            let value = (family * 40 + at) as f64 * 1234.57;
            let _ = writeln!(page, "{name}{{cpu=\"{cpu}\",mode=\"{mode}\"}} {value}");
        }
    }
    page
}
