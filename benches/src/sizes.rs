//! How much disk samples take, with their indexes and everything that they need beside them, but without what only says
//! how they came: rows of collections are kept a day, events until they are published, and of who scrapes what there are
//! as many rows however many samples there are.

use std::path::Path;

use crate::embedded;
use crate::server::{Kind, Subject};
use anyhow::{Context, Result};

/// Tables that hold no samples.
const BESIDE: &str = "'collection_jobs', 'outbox', 'ring_grants'";

/// Bytes on disk, and of which parts they are made. Ends the process of a metricsd on SQLite, which then leaves one file
/// with all of it.
pub(crate) async fn measure(subject: &mut Subject) -> Result<(f64, String)> {
    match subject.kind {
        Kind::Timescale => timescale(subject).await,
        Kind::Sqlite => {
            subject.end().await?;
            sqlite(&subject.process().data().join("metricsd.db")).await
        }
        Kind::Prometheus => Ok(folders(subject.process().data(), &["snapshots"])),
        Kind::Victoria => Ok(folders(subject.process().data(), &["data", "indexdb"])),
    }
}

/// Bytes that a database of metricsd takes before the first sample: tables and indexes without rows, and what says which
/// processes there are. They are no samples, and as many however many samples come.
pub(crate) async fn empty(subject: &Subject) -> Result<f64> {
    match subject.kind {
        Kind::Timescale => Ok(timescale(subject).await?.0),
        Kind::Sqlite => Ok(sqlite(&subject.process().data().join("metricsd.db")).await?.0),
        Kind::Prometheus | Kind::Victoria => Ok(0.0),
    }
}

/// Every table of ours and of TimescaleDB's, chunks under the name of their hypertable.
async fn timescale(subject: &Subject) -> Result<(f64, String)> {
    let database = subject.database().context("no database")?;
    database.query("VACUUM").await?;
    let statement = format!(
        "SELECT coalesce(p.relname, c.relname), sum(pg_total_relation_size(c.oid))::bigint
         FROM pg_class c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
         LEFT JOIN pg_class p ON p.oid = i.inhparent
         WHERE c.relkind = 'r' AND n.nspname IN ('public', '_timescaledb_internal')
           AND c.relname NOT IN ({BESIDE})
         GROUP BY 1 HAVING sum(pg_total_relation_size(c.oid)) > 0 ORDER BY 2 DESC"
    );
    parts(&database.query(&statement).await?)
}

/// Every table of the file with its indexes.
async fn sqlite(file: &Path) -> Result<(f64, String)> {
    let statement = format!(
        "SELECT coalesce(s.tbl_name, d.name), sum(d.pgsize) FROM dbstat d LEFT JOIN sqlite_schema s ON s.name = d.name \
         WHERE coalesce(s.tbl_name, d.name) NOT IN ({BESIDE}) GROUP BY 1 ORDER BY 2 DESC"
    );
    if let Some(lines) = embedded::query(file, &statement).await {
        return parts(&lines);
    }
    let bytes = std::fs::metadata(file)?.len();
    Ok((
        bytes as f64,
        "the whole file, rows of collections too: neither sqlite3 nor python3 can look into it".to_owned(),
    ))
}

/// Lines of a name and bytes.
fn parts(lines: &str) -> Result<(f64, String)> {
    let (mut total, mut shown) = (0.0, Vec::new());
    for line in lines.lines() {
        let (name, bytes) = line.split_once('|').context("not a name and bytes")?;
        let bytes: f64 = bytes.parse()?;
        total += bytes;
        if bytes >= 100_000.0 {
            shown.push(format!("{name} {:.1} MB", bytes / 1e6));
        }
    }
    Ok((total, shown.join(", ")))
}

fn folders(data: &Path, names: &[&str]) -> (f64, String) {
    let bytes = names.iter().map(|name| size(&data.join(name))).sum::<u64>() as f64;
    (bytes, format!("{} {:.1} MB", names.join(" and "), bytes / 1e6))
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::symlink_metadata(path).map_or(0, |file| file.len());
    };
    entries.flatten().map(|entry| size(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn parts_are_added_up() {
        let (total, shown) = super::parts("frames|2000000\nseries|500\n").unwrap();
        assert!((total - 2_000_500.0).abs() < 1e-9);
        assert_eq!(shown, "frames 2.0 MB");
    }
}
