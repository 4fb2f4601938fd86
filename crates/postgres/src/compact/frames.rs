//! Reads the frames of a unit into columns.

use std::collections::HashMap;

use futures::TryStreamExt;
use metricsd_codec::pack::unpack_histograms;
use metricsd_model::Millis;
use metricsd_store::compact::{HOUR, Scrape, Slots, Transposed, Transposer};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::plan::Unit;
use crate::binary::{array, bytes, number, required, required_array};
use crate::copy::{bound, millis};
use crate::error::{Fault, damaged};

/// Target and source of frames, in the order in which they were met.
pub(super) type Origins = Vec<(String, String)>;

/// Reads one share of the series of a unit: with where they came from, and how many samples the frames held.
pub(super) async fn read(
    tx: &mut PgConnection,
    hour: Millis,
    unit: &Unit,
    (pass, passes): (u64, u64),
) -> Result<(Vec<Transposed>, Origins, u64), Fault> {
    let mut reader = Reader::new(Transposer::for_pass(pass, passes));
    let layouts = include_str!("../sql/layouts_by_id.sql");
    let mut rows = sqlx::query(layouts).bind(&unit.layouts).fetch(&mut *tx);
    while let Some(row) = rows.try_next().await? {
        let series = required_array::<8>(&row, 1)?;
        let slots = reader.transposer.slots(series.iter().map(i64::from_be_bytes));
        reader.layouts.insert(i64::from_be_bytes(required(&row, 0)?), slots);
    }
    drop(rows);
    let mut rows = sqlx::query(include_str!("../sql/unit_frames.sql"))
        .bind(bound(hour))
        .bind(bound(hour.saturating_add(HOUR)))
        .bind(&unit.targets)
        .fetch(tx);
    while let Some(row) = rows.try_next().await? {
        reader.add(&row)?;
    }
    let samples = reader.transposer.samples();
    Ok((reader.transposer.finish(), reader.origins, samples))
}

struct Reader {
    transposer: Transposer,
    layouts: HashMap<i64, Slots>,
    origins: Origins,
    known: HashMap<(String, String), u32>,
    /// The arrays of one frame, to be used again for the next.
    values: Vec<f64>,
    offsets: Vec<i32>,
}

impl Reader {
    fn new(transposer: Transposer) -> Self {
        Self {
            transposer,
            layouts: HashMap::new(),
            origins: Vec::new(),
            known: HashMap::new(),
            values: Vec::new(),
            offsets: Vec::new(),
        }
    }

    fn add(&mut self, row: &PgRow) -> Result<(), Fault> {
        let inline;
        let origin = self.origin(row.try_get(8)?, row.try_get(9)?);
        let slots = match number(row, 6)?.map(i64::from_be_bytes) {
            Some(layout) => {
                self.layouts.get(&layout).ok_or_else(|| damaged("a frame's layout is missing"))?
            }
            None => {
                inline = self.transposer.slots(required_array::<8>(row, 7)?.iter().map(i64::from_be_bytes));
                &inline
            }
        };
        self.values.clear();
        self.values.extend(required_array::<8>(row, 4)?.iter().map(f64::from_be_bytes));
        let offsets = array::<4>(row, 5)?;
        self.offsets.clear();
        self.offsets.extend(offsets.into_iter().flat_map(|offsets| offsets.iter().map(i32::from_be_bytes)));
        let histograms = match bytes(row, 3)? {
            Some(packed) => unpack_histograms(packed)
                .map_err(|error| damaged("damaged histograms in the database").caused_by(error))?,
            None => Vec::new(),
        };
        let seq = i64::from_be_bytes(required(row, 1)?);
        let part = i16::from_be_bytes(required(row, 2)?);
        let scrape = Scrape {
            time: millis(i64::from_be_bytes(required(row, 0)?)),
            offsets: offsets.is_some().then_some(self.offsets.as_slice()),
            order: (seq << 15) | i64::from(part),
            origin,
            values: &self.values,
            histograms,
        };
        Ok(self.transposer.add(slots, scrape)?)
    }

    fn origin(&mut self, target: &str, source: &str) -> u32 {
        let key = (target.to_owned(), source.to_owned());
        if let Some(place) = self.known.get(&key) {
            return *place;
        }
        let place = self.origins.len() as u32;
        self.origins.push(key.clone());
        self.known.insert(key, place);
        place
    }
}
