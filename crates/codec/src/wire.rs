//! Reads protobuf's wire format where it lies: nothing is copied, every error knows its byte.

/// What does not read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}, at byte {at} of the unpacked body")]
pub struct WireError {
    /// What was being read.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// Where, from the start of the unpacked body.
    pub at: usize,
}

/// How a field's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint,
    Fixed64,
    Bytes,
    GroupStart,
    GroupEnd,
    Fixed32,
}

/// Groups within groups; nothing that we read has any, they are only skipped.
const MAX_GROUPS: usize = 100;

/// Numbers of one packed list; native histograms have some hundreds of buckets.
const MAX_LIST: usize = 1 << 16;

/// A place in a message, and the message's end. Positions count from the start of the whole body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The body up to the end of this message.
    bytes: &'a [u8],
    at: usize,
    /// What the message is, for errors.
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// At the start of a body.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, at: 0, what }
    }

    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What is left of the message.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[cold]
    pub(crate) fn error(&self, problem: &'static str) -> WireError {
        WireError { what: self.what, problem, at: self.at }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (place, byte) in self.rest().iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if place == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.at += place + 1;
                return Ok(value);
            }
        }
        Err(self.error(if self.rest().len() < 10 {
            "ends within a number"
        } else {
            "holds a number of more than 64 bits"
        }))
    }

    /// A field's number and how its value is written.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<(u32, Wire), WireError> {
        let start = *self;
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            3 => Wire::GroupStart,
            4 => Wire::GroupEnd,
            5 => Wire::Fixed32,
            _ => return Err(start.error("has a field of a kind that does not exist")),
        };
        match u32::try_from(tag >> 3) {
            Ok(number) if (1..1 << 29).contains(&number) => Ok((number, wire)),
            _ => Err(start.error("has a field whose number does not exist")),
        }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some(bytes) = self.rest().first_chunk::<N>() else {
            return Err(self.error("ends within a number"));
        };
        self.at += N;
        Ok(*bytes)
    }

    /// Fails unless the value of the field just read is written as expected.
    #[inline]
    fn expect(&self, found: Wire, expected: Wire) -> Result<(), WireError> {
        if found == expected {
            Ok(())
        } else {
            Err(self.error("has a field written as another kind of value"))
        }
    }

    #[inline]
    pub(crate) fn double(&mut self, wire: Wire) -> Result<f64, WireError> {
        self.expect(wire, Wire::Fixed64)?;
        self.fixed().map(f64::from_le_bytes)
    }

    /// A number of 64 bits that is written as it lies in memory.
    #[inline]
    pub(crate) fn fixed64(&mut self, wire: Wire) -> Result<u64, WireError> {
        self.expect(wire, Wire::Fixed64)?;
        self.fixed().map(u64::from_le_bytes)
    }

    /// The same of a number with a sign.
    #[inline]
    pub(crate) fn sfixed64(&mut self, wire: Wire) -> Result<i64, WireError> {
        self.fixed64(wire).map(u64::cast_signed)
    }

    /// A text, which protobuf wants to be UTF-8.
    #[inline]
    pub(crate) fn text(&mut self, wire: Wire) -> Result<&'a str, WireError> {
        let before = *self;
        std::str::from_utf8(self.bytes(wire)?).map_err(|_| before.error("has a text that is not UTF-8"))
    }

    #[inline]
    pub(crate) fn uint64(&mut self, wire: Wire) -> Result<u64, WireError> {
        self.expect(wire, Wire::Varint)?;
        self.varint()
    }

    #[inline]
    pub(crate) fn int64(&mut self, wire: Wire) -> Result<i64, WireError> {
        self.uint64(wire).map(u64::cast_signed)
    }

    /// A number of 32 bits; protobuf drops the upper half of what is too large.
    pub(crate) fn uint32(&mut self, wire: Wire) -> Result<u32, WireError> {
        self.uint64(wire).map(|number| number as u32)
    }

    /// A signed number in zigzag form.
    pub(crate) fn sint64(&mut self, wire: Wire) -> Result<i64, WireError> {
        self.uint64(wire).map(unzigzag)
    }

    /// As [`Self::sint64`], of 32 bits.
    pub(crate) fn sint32(&mut self, wire: Wire) -> Result<i32, WireError> {
        let raw = self.uint32(wire)?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// The bytes of a text, a message or a packed list.
    #[inline]
    pub(crate) fn bytes(&mut self, wire: Wire) -> Result<&'a [u8], WireError> {
        let inner = self.message(wire, self.what)?;
        Ok(inner.rest())
    }

    /// A message within this one, called `what` in errors.
    #[inline]
    pub(crate) fn message(&mut self, wire: Wire, what: &'static str) -> Result<Self, WireError> {
        self.expect(wire, Wire::Bytes)?;
        let before = *self;
        let length = self.varint()?;
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        match end.and_then(|end| self.bytes.get(..end)) {
            Some(bytes) => {
                let inner = Self { bytes, at: self.at, what };
                self.at = bytes.len();
                Ok(inner)
            }
            None => Err(before.error("is cut short: a field in it is longer than what is left")),
        }
    }

    /// Passes over fields that follow each other with one tag, as long as they are whole and shorter than 128 bytes.
    #[inline]
    pub(crate) fn skip_short(&mut self, tag: u8) {
        while let Some([first, length, ..]) = self.bytes.get(self.at..)
            && *first == tag
            && *length < 0x80
        {
            let end = self.at + 2 + usize::from(*length);
            if end > self.bytes.len() {
                break;
            }
            self.at = end;
        }
    }

    /// One number of a list, or all of them where the list is packed.
    pub(crate) fn repeated<T>(
        &mut self,
        wire: Wire,
        packed: Wire,
        into: &mut Vec<T>,
        read: impl Fn(&mut Self, Wire) -> Result<T, WireError>,
    ) -> Result<(), WireError> {
        let mut list = if wire == Wire::Bytes { self.message(wire, self.what)? } else { *self };
        while !list.is_empty() {
            if into.len() == MAX_LIST {
                return Err(list.error("has more than 65536 buckets"));
            }
            into.push(read(&mut list, if wire == Wire::Bytes { packed } else { wire })?);
            if wire != Wire::Bytes {
                *self = list;
                break;
            }
        }
        Ok(())
    }

    /// Passes over the value of an unknown field.
    pub(crate) fn skip(&mut self, wire: Wire) -> Result<(), WireError> {
        if wire != Wire::GroupStart {
            return self.skip_value(wire);
        }
        let mut depth = 1;
        while depth > 0 {
            match self.tag()? {
                (_, Wire::GroupStart) if depth == MAX_GROUPS => {
                    return Err(self.error("has groups too deep within each other"));
                }
                (_, Wire::GroupStart) => depth += 1,
                (_, Wire::GroupEnd) => depth -= 1,
                (_, wire) => self.skip_value(wire)?,
            }
        }
        Ok(())
    }

    fn skip_value(&mut self, wire: Wire) -> Result<(), WireError> {
        match wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed64 => self.fixed::<8>().map(drop),
            Wire::Fixed32 => self.fixed::<4>().map(drop),
            Wire::Bytes => self.bytes(wire).map(drop),
            Wire::GroupStart | Wire::GroupEnd => Err(self.error("has an end of a group that did not begin")),
        }
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}
