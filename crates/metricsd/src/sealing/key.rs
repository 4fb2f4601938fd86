//! The key that seals credentials: out of the configuration, or made once and kept in the data folder.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use metricsd_model::MASK;
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of an AES-256 key.
const KEY_BYTES: usize = 32;

/// Where a key is kept that was made rather than configured.
const KEY_FILE: &str = "secret.key";

/// An AES-256 key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealingKey([u8; KEY_BYTES]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Whether a key was found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOrigin {
    /// It was there.
    Found,
    /// It was made by this call: other processes do not know it.
    Made,
}

impl SealingKey {
    /// Reads a key: 32 bytes as 64 hex digits or as base64 of either alphabet.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_BYTES { from_hex(text)? } else { from_base64(text)? };
        bytes.try_into().ok().map(Self)
    }

    /// The key of a data folder, made when there is none. Processes that start at the same time get the same key.
    pub(crate) fn load_or_create(data_dir: &Path) -> io::Result<(Self, KeyOrigin)> {
        let path = data_dir.join(KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => return Self::found(&path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::create_dir_all(data_dir)?;
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the system gives no random bytes"))?;
        // Written whole under another name first: a crash in between leaves no half of a key behind.
        let draft = data_dir.join(format!("{KEY_FILE}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{}", STANDARD.encode(bytes))?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft)?;
        match linked {
            Ok(()) => {
                File::open(data_dir)?.sync_all()?;
                tracing::info!(path = %path.display(), "a key that seals credentials was made; keep a copy of it");
                Ok((Self(bytes), KeyOrigin::Made))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Self::found(&path, &fs::read_to_string(&path)?)
            }
            Err(error) => Err(error),
        }
    }

    fn found(path: &Path, text: &str) -> io::Result<(Self, KeyOrigin)> {
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "others can read the sealing key");
        }
        let invalid = || io::Error::new(ErrorKind::InvalidData, "not 32 bytes as base64 or hex");
        Self::parse(text).map(|key| (key, KeyOrigin::Found)).ok_or_else(invalid)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    Some(digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [&base64::alphabet::STANDARD, &base64::alphabet::URL_SAFE];
    alphabets.into_iter().find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn keys_read_in_both_forms() {
        let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let key = SealingKey::parse(hex).unwrap();
        let base64 = STANDARD.encode(key.bytes());
        assert_eq!(SealingKey::parse(&base64), Some(key.clone()));
        assert_eq!(SealingKey::parse(&format!("{}\n", base64.trim_end_matches('='))), Some(key.clone()));
        assert_eq!(SealingKey::parse(&base64.replace('+', "-").replace('/', "_")), Some(key.clone()));
        for text in ["", "short", &hex[1..], &format!("{hex}00"), &hex.replace('0', "x"), "é"] {
            assert_eq!(SealingKey::parse(text), None, "{text}");
        }
        assert_eq!(format!("{key:?}"), MASK);
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let folder = TempDir::new();
        let data = folder.path().join("deep/data");
        let (made, origin) = SealingKey::load_or_create(&data).unwrap();
        assert_eq!(origin, KeyOrigin::Made);
        let mode = fs::metadata(data.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(SealingKey::load_or_create(&data).unwrap(), (made, KeyOrigin::Found));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
        fs::write(data.join(KEY_FILE), "half").unwrap();
        assert_eq!(SealingKey::load_or_create(&data).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
