//! A request in JSON, written as protobuf while it is read: there is no tree of it in memory, and one reader for both.
//!
//! Keys are in lower camel case and unknown ones are passed over; ids of traces and spans are hexadecimal, other bytes
//! base64; whole numbers of 64 bits may be texts; enumerations are numbers; `null` is as if the field were not there.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::schema::{Field, Form, REQUEST, Schema};
use crate::remote_write::push_varint;

/// What does not read, and where.
#[derive(Debug, thiserror::Error)]
#[error("the body is not an ExportMetricsServiceRequest in JSON: {0}")]
pub struct JsonError(#[from] serde_json::Error);

/// A request in JSON as protobuf. What comes out is hardly ever larger than what goes in.
///
/// # Errors
/// See [`JsonError`].
pub fn protobuf_of_json(body: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Message { schema: &REQUEST, out: &mut out }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(out)
}

/// Protobuf's ways to write a value.
const VARINT: u32 = 0;
const FIXED: u32 = 1;
const BYTES: u32 = 2;

fn put_tag(out: &mut Vec<u8>, number: u32, wire: u32) {
    push_varint(out, u64::from(number << 3 | wire));
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, BYTES);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes an object as a message.
struct Message<'s> {
    schema: &'static Schema,
    out: &'s mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object ({})", self.schema.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Key(self.schema))? {
            match field {
                Some(field) => map.next_value_seed(Value { field, out: &mut *self.out })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds the field of a key.
struct Key(&'static Schema);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static Field>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a field of {}", self.0.name)
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| field.name == key))
    }
}

/// Writes a field's value, or each of its values.
struct Value<'s> {
    field: &'static Field,
    out: &'s mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.name;
        if self.field.repeated {
            return write!(formatter, "a list for {name}");
        }
        Single { field: self.field, out: &mut Vec::new() }.expecting(formatter)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.field.repeated {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        while list.next_element_seed(Single { field: self.field, out: &mut *self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.single()?.visit_map(map)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.single()?.visit_str(text)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.single()?.visit_bool(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.single()?.visit_u64(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.single()?.visit_i64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.single()?.visit_f64(value)
    }
}

impl<'s> Value<'s> {
    fn single<E: Error>(self) -> Result<Single<'s>, E> {
        if self.field.repeated {
            return Err(E::custom(format_args!("{} is a list", self.field.name)));
        }
        Ok(Single { field: self.field, out: self.out })
    }
}

/// Writes one value of a field.
struct Single<'s> {
    field: &'static Field,
    out: &'s mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Single<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Single<'_> {
    fn varint(self, number: u64) {
        put_tag(self.out, self.field.number, VARINT);
        push_varint(self.out, number);
    }

    fn fixed(self, bits: u64) {
        put_tag(self.out, self.field.number, FIXED);
        self.out.extend_from_slice(&bits.to_le_bytes());
    }

    /// Writes a whole number in the field's form.
    fn whole<E: Error>(self, number: i128) -> Result<(), E> {
        let refused = || E::custom(format_args!("{number} is out of range for {}", self.field.name));
        match self.field.form {
            Form::Fixed64 => self.fixed(u64::try_from(number).map_err(|_| refused())?),
            Form::SFixed64 => self.fixed(i64::try_from(number).map_err(|_| refused())?.cast_unsigned()),
            Form::Int64 => self.varint(i64::try_from(number).map_err(|_| refused())?.cast_unsigned()),
            Form::UInt64 => self.varint(u64::try_from(number).map_err(|_| refused())?),
            Form::UInt32 => self.varint(u32::try_from(number).map_err(|_| refused())?.into()),
            Form::SInt32 => {
                let number = i32::try_from(number).map_err(|_| refused())?;
                self.varint(u64::from(((number << 1) ^ (number >> 31)).cast_unsigned()));
            }
            Form::Double => self.fixed((number as f64).to_bits()),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Other("number"), &self)),
        }
        Ok(())
    }

    /// Reads a text that stands for a number.
    fn number_of<E: Error>(self, text: &str) -> Result<(), E> {
        if let Form::Double = self.field.form {
            let number = match text {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                text => text.parse().map_err(|_| self.unreadable(text))?,
            };
            self.fixed(number.to_bits());
            return Ok(());
        }
        let number = text.parse::<i128>().map_err(|_| self.unreadable(text))?;
        self.whole(number)
    }

    fn unreadable<E: Error>(&self, text: &str) -> E {
        let shown: String = text.chars().take(40).collect();
        E::invalid_value(serde::de::Unexpected::Str(&shown), self)
    }
}

impl<'de> Visitor<'de> for Single<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = match self.field.form {
            Form::Text => "a text",
            Form::Bytes => "base64",
            Form::Hex => "hexadecimal digits",
            Form::Bool => "true or false",
            Form::Double => "a number",
            Form::Message(_) => "an object",
            _ => "a whole number",
        };
        write!(formatter, "{expected} for {}", self.field.name)
    }

    /// An element of a list: the message that says nothing.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.field.form {
            Form::Message(_) => put_bytes(self.out, self.field.number, &[]),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Form::Message(schema) = self.field.form else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        };
        let mut inner = Vec::new();
        Message { schema, out: &mut inner }.visit_map(map)?;
        put_bytes(self.out, self.field.number, &inner);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let number = self.field.number;
        match self.field.form {
            Form::Text => put_bytes(self.out, number, text.as_bytes()),
            Form::Hex => put_bytes(self.out, number, &hex(text).ok_or_else(|| self.unreadable(text))?),
            Form::Bytes => put_bytes(self.out, number, &base64(text).ok_or_else(|| self.unreadable(text))?),
            Form::Bool | Form::Message(_) => return Err(self.unreadable(text)),
            _ => return self.number_of(text),
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.form {
            Form::Bool => self.varint(value.into()),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.whole(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.whole(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.field.form {
            Form::Double => self.fixed(value.to_bits()),
            // `1e3` and `1.0` are whole numbers too.
            _ if value.fract() == 0.0 && value.abs() < 1e18 => return self.whole(value as i128),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
        Ok(())
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?)).collect()
}

/// Reads what other encoders make of the last bits, too.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// Either alphabet, with padding or without.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    LENIENT.decode(digits).ok()
}
