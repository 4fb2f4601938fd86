//! Which formats there are, and how they are told.

/// How a file says samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// A header, then a line a sample.
    Csv,
    /// A JSON object a line.
    Ndjson,
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// Every format.
    pub const ALL: &'static [Self] =
        &[Self::Csv, Self::Ndjson, Self::OpenMetrics, Self::Prometheus, Self::Parquet];

    /// The name in parameters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::OpenMetrics => "openmetrics",
            Self::Prometheus => "prometheus",
            Self::Parquet => "parquet",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.as_str() == name)
    }

    /// By a media type, its parameters left out; `None` where that says nothing.
    pub fn from_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        Some(match essence.as_str() {
            "text/csv" | "application/csv" => Self::Csv,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Self::Ndjson,
            "application/openmetrics-text" => Self::OpenMetrics,
            "text/plain" => Self::Prometheus,
            "application/vnd.apache.parquet" | "application/parquet" | "application/x-parquet" => {
                Self::Parquet
            }
            _ => return None,
        })
    }

    /// By a file's name, a suffix of compression left out.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let bare = Compression::of_file_name(name).0;
        let extension = bare.rsplit_once('.')?.1.to_ascii_lowercase();
        Some(match extension.as_str() {
            "csv" => Self::Csv,
            "ndjson" | "jsonl" => Self::Ndjson,
            "om" | "openmetrics" => Self::OpenMetrics,
            "prom" => Self::Prometheus,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }

    /// The media type of what is written.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The usual end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::OpenMetrics => "om",
            Self::Prometheus => "prom",
            Self::Parquet => "parquet",
        }
    }
}

/// How a file is packed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, members one behind the other included.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// The name in parameters and in `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Reads a name; what is empty is no compression.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => Self::None,
            "gzip" | "x-gzip" | "gz" => Self::Gzip,
            "zstd" | "zst" => Self::Zstd,
            _ => return None,
        })
    }

    /// A file's name without the end that says how it is packed, and what that says.
    pub fn of_file_name(name: &str) -> (&str, Self) {
        if let Some(bare) = name.strip_suffix(".gz") {
            return (bare, Self::Gzip);
        }
        match name.strip_suffix(".zst") {
            Some(bare) => (bare, Self::Zstd),
            None => (name, Self::None),
        }
    }

    /// By the first bytes of a file.
    pub fn of_bytes(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told() {
        for format in FileFormat::ALL {
            assert_eq!(FileFormat::from_name(format.as_str()), Some(*format));
            assert_eq!(FileFormat::from_media_type(format.media_type()), Some(*format));
            assert_eq!(FileFormat::from_file_name(&format!("a.b.{}", format.extension())), Some(*format));
        }
        assert_eq!(FileFormat::from_file_name("week.csv.gz"), Some(FileFormat::Csv));
        assert_eq!(FileFormat::from_file_name("week.json"), None);
        assert_eq!(Compression::of_file_name("a.csv.zst"), ("a.csv", Compression::Zstd));
        assert_eq!(Compression::from_name("br"), None);
    }
}
