//! Lines of JSON, an item each.

use memchr::memchr;
use metricsd_model::Refusal;
use serde::de::DeserializeSeed;

use super::item::ItemSeed;
use super::list::without_position;
use super::metric::{CustomMetric, Wrong};
use super::usual::usual;
use super::{BodyError, CustomWriter};

/// Reads all lines; the last needs no end.
pub(super) fn read(mut body: &[u8], out: &mut CustomWriter<'_>) -> Result<(), BodyError> {
    while !body.is_empty() {
        let end = memchr(b'\n', body).unwrap_or(body.len());
        let line = body.get(..end).unwrap_or_default();
        body = body.get(end + 1..).unwrap_or_default();
        let line = line.trim_ascii();
        if line.is_empty() {
            out.pass();
            continue;
        }
        let Some(index) = out.begin()? else { continue };
        let scanned = usual(line, out.key()).filter(|item| item.length == line.len());
        if let Some(item) = scanned
            && out.float(index, item.key, item.timestamp, item.value)
        {
            continue;
        }
        out.item(index, scanned.map(|item| item.key), read_line(line))?;
    }
    Ok(())
}

fn read_line(line: &[u8]) -> Result<CustomMetric, Wrong> {
    let mut json = serde_json::Deserializer::from_slice(line);
    match ItemSeed.deserialize(&mut json).and_then(|item| json.end().map(|()| item)) {
        Ok(item) => item,
        Err(error) => {
            let message = format!("not JSON: {} at column {}", without_position(&error), error.column());
            Err(Wrong::new("", Refusal::InvalidValue, message))
        }
    }
}
