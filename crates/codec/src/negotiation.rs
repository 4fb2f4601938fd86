//! Which format a page is asked for, and which one it came in.
//!
//! The request's `Accept` lists what a target may answer with, best first ([`accept_header`]); the answer's
//! `Content-Type` says what it chose ([`Format::negotiate`]). Both as Prometheus 3 documents them.

mod media_type;

use metricsd_model::{NameEscaping, NameValidation, ScrapeOptions, ScrapeProtocol};

use crate::exposition::Format;
use media_type::media_type;

/// What is asked for where nothing is configured.
pub const DEFAULT_PROTOCOLS: [ScrapeProtocol; 4] = [
    ScrapeProtocol::OpenMetricsText100,
    ScrapeProtocol::OpenMetricsText001,
    ScrapeProtocol::PrometheusText100,
    ScrapeProtocol::PrometheusText004,
];

/// The same where native histograms are wanted: only protobuf has them.
pub const DEFAULT_PROTOCOLS_WITH_NATIVE_HISTOGRAMS: [ScrapeProtocol; 5] = [
    ScrapeProtocol::PrometheusProto,
    ScrapeProtocol::OpenMetricsText100,
    ScrapeProtocol::OpenMetricsText001,
    ScrapeProtocol::PrometheusText100,
    ScrapeProtocol::PrometheusText004,
];

/// Why the format of a page is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// The answer says nothing of its format.
    #[error("the answer has a blank Content-Type, and the target has no fallback_scrape_protocol")]
    Blank,
    /// Its header is no media type.
    #[error(
        "the answer's Content-Type {0:?} does not read as a media type, and the target has no fallback_scrape_protocol"
    )]
    Unreadable(String),
    /// It is something other than metrics.
    #[error(
        "the answer's Content-Type {0:?} is no format of metrics, and the target has no fallback_scrape_protocol"
    )]
    Unknown(String),
}

/// The `Accept` header of a scrape: the configured formats with weights that fall from 0.6 on, then anything at all.
pub fn accept_header(options: &ScrapeOptions) -> String {
    let escaping = escaping(options);
    let mut header = String::with_capacity(320);
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    for protocol in protocols(options).iter().take(ScrapeProtocol::ALL.len()) {
        header.push_str(asked(*protocol));
        if knows_escaping(*protocol) {
            header.push_str(";escaping=");
            header.push_str(escaping.as_str());
        }
        header.push_str(&format!(";q=0.{weight},"));
        weight -= 1;
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

/// The formats that a scrape asks for, best first.
pub fn protocols(options: &ScrapeOptions) -> &[ScrapeProtocol] {
    match (options.scrape_protocols.as_slice(), options.scrape_native_histograms) {
        ([], true) => &DEFAULT_PROTOCOLS_WITH_NATIVE_HISTOGRAMS,
        ([], false) => &DEFAULT_PROTOCOLS,
        (configured, _) => configured,
    }
}

/// How names that are not legacy names are asked for.
pub fn escaping(options: &ScrapeOptions) -> NameEscaping {
    options.metric_name_escaping_scheme.unwrap_or(match options.metric_name_validation_scheme {
        NameValidation::Utf8 => NameEscaping::AllowUtf8,
        NameValidation::Legacy => NameEscaping::Underscores,
    })
}

/// What a page is read as whose `Content-Type` says nothing that is known. Targets that say nothing of formats, and whose
/// labels are not prescribed by a scrape configuration, are read as Prometheus text, as they always were; all others as
/// Prometheus 3 does it: not at all, unless a fallback is configured.
pub fn fallback(options: &ScrapeOptions) -> Option<ScrapeProtocol> {
    let lenient = !options.exact_labels && options.scrape_protocols.is_empty();
    options.fallback_scrape_protocol.or(lenient.then_some(ScrapeProtocol::PrometheusText004))
}

fn asked(protocol: ScrapeProtocol) -> &'static str {
    match protocol {
        ScrapeProtocol::PrometheusProto => {
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        }
        ScrapeProtocol::PrometheusText004 => "text/plain;version=0.0.4",
        ScrapeProtocol::PrometheusText100 => "text/plain;version=1.0.0",
        ScrapeProtocol::OpenMetricsText001 => "application/openmetrics-text;version=0.0.1",
        ScrapeProtocol::OpenMetricsText100 => "application/openmetrics-text;version=1.0.0",
    }
}

/// The parameter came with the versions 1.0.0 of the text formats.
fn knows_escaping(protocol: ScrapeProtocol) -> bool {
    matches!(protocol, ScrapeProtocol::PrometheusText100 | ScrapeProtocol::OpenMetricsText100)
}

impl From<ScrapeProtocol> for Format {
    fn from(protocol: ScrapeProtocol) -> Self {
        match protocol {
            ScrapeProtocol::PrometheusProto => Self::Protobuf,
            ScrapeProtocol::PrometheusText004 | ScrapeProtocol::PrometheusText100 => Self::Text,
            ScrapeProtocol::OpenMetricsText001 | ScrapeProtocol::OpenMetricsText100 => Self::OpenMetrics,
        }
    }
}

impl Format {
    /// Decides by the `Content-Type` of an answer (empty where it has none). `fallback` counts where the header is absent,
    /// does not read, or names something that is no format of metrics; parameters such as the version do not matter.
    ///
    /// # Errors
    /// Such a header without a fallback.
    pub fn negotiate(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Self, NegotiationError> {
        let error = if content_type.trim_ascii().is_empty() {
            NegotiationError::Blank
        } else {
            match media_type(content_type) {
                Some(name) if name.eq_ignore_ascii_case("application/openmetrics-text") => {
                    return Ok(Self::OpenMetrics);
                }
                Some(name) if name.eq_ignore_ascii_case("application/vnd.google.protobuf") => {
                    return Ok(Self::Protobuf);
                }
                Some(name) if name.eq_ignore_ascii_case("text/plain") => return Ok(Self::Text),
                Some(_) => NegotiationError::Unknown(shown(content_type)),
                None => NegotiationError::Unreadable(shown(content_type)),
            }
        };
        fallback.map(Self::from).ok_or(error)
    }
}

/// Characters of a header that a message shows.
const SHOWN: usize = 200;

fn shown(header: &str) -> String {
    header.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScrapeProtocol::{OpenMetricsText100, PrometheusProto, PrometheusText004, PrometheusText100};

    #[test]
    fn headers_list_what_is_asked_for_with_falling_weights() {
        let check = |options: ScrapeOptions, expected: &str| assert_eq!(accept_header(&options), expected);
        let text = "text/plain;version=1.0.0;escaping=";
        check(
            ScrapeOptions::default(),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        );
        check(
            ScrapeOptions { scrape_native_histograms: true, ..ScrapeOptions::default() },
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        );
        let listed = |protocols: &[ScrapeProtocol], validation, scheme| ScrapeOptions {
            scrape_protocols: protocols.to_vec(),
            metric_name_validation_scheme: validation,
            metric_name_escaping_scheme: scheme,
            scrape_native_histograms: true,
            ..ScrapeOptions::default()
        };
        check(
            listed(&[PrometheusText004, PrometheusText100], NameValidation::Legacy, None),
            &format!("text/plain;version=0.0.4;q=0.6,{text}underscores;q=0.5,*/*;q=0.4"),
        );
        check(
            listed(&[PrometheusText100], NameValidation::Utf8, Some(NameEscaping::Dots)),
            &format!("{text}dots;q=0.6,*/*;q=0.5"),
        );
        check(
            listed(&[PrometheusText100], NameValidation::Legacy, Some(NameEscaping::Values)),
            &format!("{text}values;q=0.6,*/*;q=0.5"),
        );
    }

    #[test]
    fn the_content_type_decides() {
        let check = |header: &str, expected| {
            assert_eq!(Format::negotiate(header, None), Ok(expected), "{header:?}");
            let other = if expected == Format::Text { OpenMetricsText100 } else { PrometheusText004 };
            assert_eq!(Format::negotiate(header, Some(other)), Ok(expected), "{header:?}");
        };
        check("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics);
        check("Application/OpenMetrics-Text;version=0.0.1", Format::OpenMetrics);
        check("application/openmetrics-text", Format::OpenMetrics);
        check("text/plain; version=0.0.4; charset=utf-8", Format::Text);
        check("text/plain; version=1.0.0; escaping=allow-utf-8", Format::Text);
        check("  text/plain ; charset=\"utf-8\"", Format::Text);
        check("text/plain", Format::Text);
        check("text/plain;", Format::Text);
        check(
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            Format::Protobuf,
        );
    }

    #[test]
    fn what_says_nothing_needs_a_fallback_and_is_named() {
        let check = |header: &str, part: &str| {
            let error = Format::negotiate(header, None).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("fallback_scrape_protocol"),
                "{header:?}: {error}"
            );
            let fallbacks = [
                (PrometheusText004, Format::Text),
                (OpenMetricsText100, Format::OpenMetrics),
                (PrometheusProto, Format::Protobuf),
            ];
            for (fallback, format) in fallbacks {
                assert_eq!(Format::negotiate(header, Some(fallback)), Ok(format), "{header:?}");
            }
        };
        check("", "blank Content-Type");
        check("  ", "blank Content-Type");
        check("text/html; charset=utf-8", "\"text/html; charset=utf-8\" is no format");
        check("application/json", "\"application/json\" is no format");
        check("text/plain; version", "\"text/plain; version\" does not read");
        check("text/plain; a=1; A=2", "does not read");
        check("text plain", "does not read");
        check("text", "is no format");
        check(";;;", "does not read");
        let long = format!("text/{}", "x".repeat(10_000));
        assert!(Format::negotiate(&long, None).unwrap_err().to_string().len() < 500);
    }

    #[test]
    fn targets_of_a_scrape_configuration_have_no_fallback_unless_told() {
        let check = |change: fn(&mut ScrapeOptions), expected| {
            let mut options = ScrapeOptions::default();
            change(&mut options);
            assert_eq!(fallback(&options), expected);
        };
        check(|_| {}, Some(PrometheusText004));
        check(|options| options.sample_limit = 5, Some(PrometheusText004));
        check(|options| options.exact_labels = true, None);
        check(|options| options.scrape_protocols = vec![OpenMetricsText100], None);
        check(
            |options| {
                options.exact_labels = true;
                options.fallback_scrape_protocol = Some(OpenMetricsText100);
            },
            Some(OpenMetricsText100),
        );
        check(|options| options.fallback_scrape_protocol = Some(PrometheusProto), Some(PrometheusProto));
    }
}
