//! Segments of wanted series: few are sought one by one, many are read as they lie, span by span. What was read is
//! unpacked on other threads while the next is read.

use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_model::Millis;
use metricsd_ports::PortError;
use metricsd_store::column::Column;
use metricsd_store::compact::{day_of, hour_of};
use metricsd_store::gather::Gather;
use sqlx::SqliteConnection;
use tokio::task::JoinHandle;

use crate::SqliteStore;
use crate::columns::{id_list, signed_len};
use crate::error::{Fault, damaged};
use crate::segments::{Stored, Table, Timelines, by_table, distinct_times, narrow, slot_of, timelines_of};
use metricsd_store::chosen::Chosen;

/// Rows that are unpacked at once: some megabytes with what they hold.
const PAGE: usize = 4_096;

/// Seeking a row costs about as much as passing so many.
const ROWS_A_SEEK: usize = 8;

/// Series whose segments of one span are sought in one statement.
const SERIES: usize = 4_096;

const fn wide(table: Table) -> &'static str {
    by_table!(
        table,
        "SELECT slot, series, origin, times, \"values\", histograms FROM ",
        " WHERE slot = ?1 AND series > ?2 ORDER BY series LIMIT ?3"
    )
}

const fn first_of(table: Table) -> &'static str {
    by_table!(
        table,
        "SELECT slot, series, origin, times, \"values\", histograms FROM ",
        " WHERE slot = ?1 ORDER BY series LIMIT ?2"
    )
}

/// Reads all segments of the range.
pub(crate) async fn read(
    store: &SqliteStore,
    tx: &mut SqliteConnection,
    chosen: &Arc<Chosen>,
    gather: &mut Gather,
) -> Result<(), Fault> {
    let range = gather.range();
    let known = store.index.len();
    let is_wide = chosen.wanted.len() >= known / ROWS_A_SEEK && chosen.wanted.len() > ROWS_A_SEEK;
    let mut reader =
        Reader { store, chosen, gather, bounds: (range.start, range.end), page: Vec::new(), unpacking: None };
    for table in Table::ALL {
        let first = if table.is_daily() { day_of(range.start) } else { hour_of(range.start) };
        let times = distinct_times(tx, table, (first, range.end)).await?;
        if is_wide {
            for time in times {
                reader.read_span(tx, table, time).await?;
            }
        } else {
            reader.seek(tx, table, &times).await?;
        }
    }
    reader.unpack(tx).await?;
    reader.receive().await
}

type Unpacked = Vec<(usize, Column)>;

struct Reader<'s> {
    store: &'s SqliteStore,
    chosen: &'s Arc<Chosen>,
    gather: &'s mut Gather,
    bounds: (Millis, Millis),
    page: Vec<Stored>,
    unpacking: Option<JoinHandle<Result<Unpacked, PortError>>>,
}

impl Reader<'_> {
    /// Looks for each wanted series in each span.
    async fn seek(&mut self, tx: &mut SqliteConnection, table: Table, times: &[Millis]) -> Result<(), Fault> {
        let mut ids: Vec<i64> = self.chosen.wanted.keys().copied().collect();
        ids.sort_unstable();
        for ids in ids.chunks(SERIES) {
            for times in times.chunks((PAGE / ids.len()).max(1)) {
                let query = sqlx::query(narrow(table));
                let slots = id_list(times.iter().map(|time| slot_of(*time)));
                let query = query.bind(slots).bind(id_list(ids.iter().copied()));
                let mut rows = query.fetch(&mut *tx);
                while let Some(row) = rows.try_next().await? {
                    self.page.push(Stored::of(&row, table)?);
                }
                drop(rows);
                if self.page.len() >= PAGE / 2 {
                    self.unpack(tx).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads what a span holds, wanted or not.
    async fn read_span(
        &mut self,
        tx: &mut SqliteConnection,
        table: Table,
        time: Millis,
    ) -> Result<(), Fault> {
        let mut last = None;
        loop {
            let query = match last {
                None => sqlx::query(first_of(table)).bind(slot_of(time)),
                Some(last) => sqlx::query(wide(table)).bind(slot_of(time)).bind(last),
            };
            let mut rows = query.bind(signed_len(PAGE)).fetch(&mut *tx);
            let mut read = 0;
            while let Some(row) = rows.try_next().await? {
                let stored = Stored::of(&row, table)?;
                last = Some(stored.series);
                read += 1;
                if self.chosen.wanted.contains_key(&stored.series) {
                    self.page.push(stored);
                }
            }
            drop(rows);
            if self.page.len() >= PAGE / 2 {
                self.unpack(tx).await?;
            }
            if read < PAGE {
                return Ok(());
            }
        }
    }

    /// Begins to unpack what was read, once what was read before is unpacked.
    async fn unpack(&mut self, tx: &mut SqliteConnection) -> Result<(), Fault> {
        let page = std::mem::take(&mut self.page);
        let timelines = timelines_of(self.store, tx, &page).await?;
        self.receive().await?;
        if !page.is_empty() {
            let (chosen, bounds) = (Arc::clone(self.chosen), self.bounds);
            let work = move || unpack_page(&page, &timelines, &chosen, bounds);
            self.unpacking = Some(tokio::task::spawn_blocking(work));
        }
        Ok(())
    }

    /// Waits for what is being unpacked.
    async fn receive(&mut self) -> Result<(), Fault> {
        let Some(unpacking) = self.unpacking.take() else { return Ok(()) };
        let columns =
            unpacking.await.map_err(|error| damaged("unpacking samples failed").caused_by(error))??;
        for (place, column) in columns {
            self.gather.extend(place, column)?;
        }
        Ok(())
    }
}

fn unpack_page(
    page: &[Stored],
    timelines: &Timelines,
    chosen: &Chosen,
    bounds: (Millis, Millis),
) -> Result<Unpacked, PortError> {
    let mut columns = Vec::with_capacity(page.len());
    for segment in page {
        if let Some(place) = chosen.wanted.get(&segment.series)
            && let Some(column) = segment.unpack(timelines, bounds)?
        {
            columns.push((*place, column));
        }
    }
    Ok(columns)
}
