//! Unpacks a file as it is read, within bounds on what it unfolds to.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use crate::format::Compression;

/// A zstd frame may ask for a window of at most 2^26 bytes.
const MAX_ZSTD_WINDOW_LOG: u32 = 26;

/// A file may unfold to this many times its bytes, beyond what is [`FREE`]: samples as text do not come near it.
const MAX_RATIO: u64 = 400;

/// Bytes that are no reason to look at the ratio.
const FREE: u64 = 64 << 20;

/// Counts what was read of the packed file.
struct Counted<R> {
    inner: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// A file that is unpacked while it is read.
pub struct Unpacked<'a> {
    reader: Box<dyn Read + 'a>,
    packed: Rc<Cell<u64>>,
    unfolded: u64,
    limit: u64,
    bounded: bool,
}

impl<'a> Unpacked<'a> {
    /// Unpacks `reader`, to `limit` bytes at most.
    pub fn new(reader: impl Read + 'a, compression: Compression, limit: u64) -> io::Result<Self> {
        let packed = Rc::new(Cell::new(0));
        let counted = Counted { inner: reader, read: packed.clone() };
        let reader: Box<dyn Read + 'a> = match compression {
            Compression::None => Box::new(counted),
            Compression::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(64 << 10, counted)))
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(counted)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Self { reader, packed, unfolded: 0, limit, bounded: compression != Compression::None })
    }

    /// Bytes of the packed file that were read; a copy counts on.
    pub fn position(&self) -> Rc<Cell<u64>> {
        self.packed.clone()
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match self.reader.read(into) {
            // The decoders call damaged bytes by several names.
            Err(error) if self.bounded && error.kind() == io::ErrorKind::Other => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            read => read?,
        };
        self.unfolded += read as u64;
        let too_large = |message: String| Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        if self.unfolded > self.limit {
            return too_large(format!("the file unfolds to more than {} bytes", self.limit));
        }
        if self.bounded && self.unfolded > FREE && self.unfolded / MAX_RATIO > self.packed.get() {
            return too_large(format!("the file unfolds to more than {MAX_RATIO} times its size"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], compression: Compression, limit: u64) -> io::Result<u64> {
        io::copy(&mut Unpacked::new(bytes, compression, limit)?, &mut io::sink())
    }

    #[test]
    fn files_unfold() {
        let text = b"some text".repeat(100);
        assert_eq!(read(&text, Compression::None, 1_000).unwrap(), 900);
        assert_eq!(read(&gzip(&text), Compression::Gzip, 1_000).unwrap(), 900);
        let twice = [gzip(&text), gzip(&text)].concat();
        assert_eq!(read(&twice, Compression::Gzip, 2_000).unwrap(), 1_800);
        let packed = zstd::encode_all(text.as_slice(), 1).unwrap();
        assert_eq!(read(&packed, Compression::Zstd, 1_000).unwrap(), 900);
        assert_eq!(read(&packed, Compression::Zstd, 899).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn damaged_files_are_told() {
        let packed = gzip(b"some text");
        for bytes in [&packed[..packed.len() - 3], b"no gzip at all", &packed[..5]] {
            let error = crate::FileError::from(read(bytes, Compression::Gzip, 1_000).unwrap_err());
            assert!(matches!(error, crate::FileError::Damaged(_)), "{error:?}");
        }
        let error = crate::FileError::from(read(b"no zstd at all", Compression::Zstd, 1_000).unwrap_err());
        assert!(matches!(error, crate::FileError::Damaged(_)), "{error:?}");
    }

    #[test]
    fn bombs_are_stopped() {
        let zeros = vec![0; 96 << 20];
        let error = read(&zstd::encode_all(zeros.as_slice(), 1).unwrap(), Compression::Zstd, u64::MAX);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
