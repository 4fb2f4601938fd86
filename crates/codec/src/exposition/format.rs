//! Which of the two formats a page is in.

/// What a scrape asks for: OpenMetrics 1.0 first, then Prometheus text, then whatever the target has.
pub const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,\
                          */*;q=0.1";

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, versions 0.0.4 and 1.0.0.
    Text,
    /// OpenMetrics text, versions 0.0.1 and 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Decides by the `Content-Type` of an answer, as Prometheus 3 does with `PrometheusText0.0.4` as its fallback:
    /// a header that is absent (empty), damaged, or of some other type means text. `None` for protobuf, which is
    /// known but never text, so that the caller can say so.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::OpenMetrics)
        } else if media_type.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            None
        } else {
            Some(Self::Text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_decides() {
        let check =
            |header: &str, expected| assert_eq!(Format::from_content_type(header), expected, "{header:?}");
        check("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(Format::OpenMetrics));
        check("Application/OpenMetrics-Text;version=0.0.1", Some(Format::OpenMetrics));
        check("text/plain; version=0.0.4; charset=utf-8", Some(Format::Text));
        check("text/plain", Some(Format::Text));
        check("", Some(Format::Text));
        check(";;;", Some(Format::Text));
        check("text/html", Some(Format::Text));
        check("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", None);
    }

    #[test]
    fn weights_fall_from_left_to_right() {
        let weights: Vec<f64> =
            ACCEPT.split(',').map(|part| part.rsplit_once("q=").unwrap().1.parse().unwrap()).collect();
        assert!(weights.is_sorted_by(|a, b| a > b), "{ACCEPT}");
        assert!(!ACCEPT.contains(' '));
    }
}
