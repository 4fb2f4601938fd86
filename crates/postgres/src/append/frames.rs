//! Writes the frames of a group by statements of many rows.
//!
//! `COPY` would cost the same processor time, but ends with a message of five bytes behind data that the server has
//! not acknowledged yet: by Nagle's algorithm it leaves when the server's delayed acknowledgement comes, 40 ms later.
//! A statement and its parameters are one message.

use chrono::{DateTime, Utc};
use metricsd_codec::pack::pack_histograms;
use metricsd_model::Frame;
use sqlx::PgConnection;
use uuid::Uuid;

use super::slices::Slices;
use super::{Fresh, Interned};
use crate::copy::Columns;
use crate::error::{Fault, damaged};

/// Bytes of values, ids and offsets of a statement, beyond which the next frame goes into another.
const STATEMENT_BYTES: usize = 1 << 20;

/// Writes the frames of batches, those of a batch in their order.
pub(super) async fn insert_frames(
    tx: &mut PgConnection,
    fresh: &[Fresh<'_>],
    interned: &Interned,
) -> Result<(), Fault> {
    let mut rows = Rows::default();
    for fresh in fresh {
        let frames = fresh.batch.frames.iter().filter(|frame| !frame.values.is_empty());
        for (part, frame) in (0i16..).zip(frames) {
            rows.push(fresh, part, frame, interned.columns(&frame.layout)?)?;
            if rows.bytes() >= STATEMENT_BYTES {
                std::mem::take(&mut rows).insert(tx).await?;
            }
        }
    }
    rows.insert(tx).await
}

/// Columns of `frames`, an element a row.
#[derive(Default)]
struct Rows<'a> {
    times: Vec<DateTime<Utc>>,
    targets: Vec<&'a str>,
    sources: Vec<&'a str>,
    batches: Vec<Uuid>,
    parts: Vec<i16>,
    layouts: Vec<Option<i64>>,
    ids: Slices<'a, i64, 8>,
    values: Slices<'a, f64, 8>,
    offsets: Slices<'a, i32, 4>,
    histograms: Vec<Option<Vec<u8>>>,
    histogram_bytes: usize,
    numbers: Vec<i64>,
}

impl<'a> Rows<'a> {
    fn push(
        &mut self,
        fresh: &Fresh<'a>,
        part: i16,
        frame: &'a Frame,
        columns: &'a Columns,
    ) -> Result<(), Fault> {
        let collection = &fresh.batch.collection;
        let time = DateTime::from_timestamp_millis(frame.time);
        self.times.push(time.ok_or_else(|| damaged("a time left its bounds"))?);
        self.targets.push(&collection.target_id);
        self.sources.push(&collection.source_id);
        self.batches.push(fresh.batch.id.to_uuid());
        self.parts.push(part);
        let (layout, ids) = match columns {
            Columns::Shared(layout) => (Some(*layout), None),
            Columns::Inline(ids) => (None, Some(&**ids)),
        };
        self.layouts.push(layout);
        self.ids.push(ids);
        self.values.push(Some(&frame.values));
        self.offsets.push(frame.offsets.as_deref());
        let histograms = (!frame.histograms.is_empty()).then(|| pack_histograms(&frame.histograms));
        self.histogram_bytes += histograms.as_ref().map_or(0, Vec::len);
        self.histograms.push(histograms);
        self.numbers.push(fresh.seq);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.ids.bytes() + self.values.bytes() + self.offsets.bytes() + self.histogram_bytes
    }

    async fn insert(self, tx: &mut PgConnection) -> Result<(), Fault> {
        if self.times.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("../sql/insert_frames.sql"))
            .bind(self.times)
            .bind(self.targets)
            .bind(self.sources)
            .bind(self.batches)
            .bind(self.parts)
            .bind(self.layouts)
            .bind(&self.ids.first)
            .bind(&self.ids.last)
            .bind(&self.values.first)
            .bind(&self.values.last)
            .bind(&self.offsets.first)
            .bind(&self.offsets.last)
            .bind(self.histograms)
            .bind(self.numbers)
            .bind(&self.ids)
            .bind(&self.values)
            .bind(&self.offsets)
            .execute(tx)
            .await?;
        Ok(())
    }
}
