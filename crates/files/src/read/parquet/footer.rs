//! Looks at what a file says of itself at its end before the decoders do: they follow a schema as deep as it goes, and make
//! room for as many children as a group claims.
//!
//! The footer is a Thrift struct (`FileMetaData` of parquet.thrift); its second field lists the elements of the schema depth
//! first, each with the number of its children in its fifth field.

use std::io::{BufReader, Read};
use std::sync::Arc;

use super::thrift::{Compact, I32, LIST, STRUCT};
use crate::FileError;
use crate::source::{Source, SourceReader};

/// Bytes of the footer.
const MAX_FOOTER: u64 = 16 << 20;

/// Groups inside of one another.
const MAX_DEPTH: usize = 16;

/// Elements of a schema, groups included; a file of more is no table of samples.
const MAX_ELEMENTS: u64 = 4_096;

/// Refuses a footer that is too large, and a schema that is too deep or claims what is not there.
pub(super) fn check(source: &Arc<dyn Source>) -> Result<(), FileError> {
    let length = length(&**source)?;
    let start = source.size().checked_sub(8).and_then(|end| end.checked_sub(length)).ok_or_else(none)?;
    let bytes = SourceReader::new(source.clone(), start).take(length);
    let mut footer = Compact::new(BufReader::with_capacity(64 << 10, bytes), length, "the footer");
    let mut before = 0;
    while let Some((number, kind)) = footer.field(before)? {
        before = number;
        if (number, kind) == (2, LIST) {
            check_schema(&mut footer)?;
        } else {
            footer.skip(kind)?;
        }
    }
    Ok(())
}

fn none() -> FileError {
    FileError::Damaged("the file is no Parquet file, or not whole".to_owned())
}

/// The length of the footer stands in the last eight bytes; a large one would be read into memory as it is.
fn length(source: &dyn Source) -> Result<u64, FileError> {
    let mut tail = [0; 8];
    let at = source.size().checked_sub(8).ok_or_else(none)?;
    let mut read = 0;
    while let Some(rest) = tail.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match source.read_at(at + read as u64, rest)? {
            0 => return Err(none()),
            some => read += some,
        }
    }
    let [a, b, c, d, magic @ ..] = tail;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    match &magic {
        b"PAR1" if length <= MAX_FOOTER => Ok(length),
        b"PAR1" => Err(FileError::TooLarge(format!("the footer is larger than {MAX_FOOTER} bytes"))),
        b"PARE" => Err(FileError::Damaged("the file is encrypted".to_owned())),
        _ => Err(none()),
    }
}

fn check_schema<R: Read>(footer: &mut Compact<R>) -> Result<(), FileError> {
    let (kind, count) = footer.list()?;
    if kind != STRUCT {
        return Err(footer.wrong());
    }
    if count > MAX_ELEMENTS {
        return Err(FileError::TooLarge(format!("the schema has more than {MAX_ELEMENTS} elements")));
    }
    // Children that are still to come of each group around an element.
    let mut open: Vec<u64> = Vec::new();
    for index in 0..count {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let children = children(footer)?;
        if children > count - index - 1 {
            return Err(footer.wrong());
        }
        if children > 0 {
            open.push(children);
        }
        if open.len() > MAX_DEPTH {
            let message = format!("the schema has groups more than {MAX_DEPTH} deep inside of one another");
            return Err(FileError::TooLarge(message));
        }
    }
    Ok(())
}

/// Reads an element; answers how many children it claims.
fn children<R: Read>(footer: &mut Compact<R>) -> Result<u64, FileError> {
    let (mut before, mut children) = (0, 0);
    while let Some((number, kind)) = footer.field(before)? {
        before = number;
        if (number, kind) == (5, I32) {
            children = footer.count()?;
        } else {
            footer.skip(kind)?;
        }
    }
    Ok(children)
}
