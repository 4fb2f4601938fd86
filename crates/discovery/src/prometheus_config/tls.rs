//! `tls_config`.

use metricsd_model::{TlsOptions, TlsVersion};

use super::section::{SecretFields, Section};
use super::value::shown;

/// Takes `tls_config` out of a section.
pub(super) fn read(section: &mut Section<'_>) -> TlsOptions {
    let Some(mut tls) = section.section("tls_config") else { return TlsOptions::default() };
    let options = TlsOptions {
        ca: tls.secret(&SecretFields { inline: "ca", file: "ca_file", env: Some("ca_env") }),
        cert: tls.secret(&SecretFields { inline: "cert", file: "cert_file", env: Some("cert_env") }),
        key: tls.secret(&SecretFields { inline: "key", file: "key_file", env: Some("key_env") }),
        server_name: tls.filled("server_name"),
        insecure_skip_verify: tls.flag("insecure_skip_verify").unwrap_or_default(),
        min_version: tls.scalar("min_version", version),
        max_version: tls.scalar("max_version", version),
    };
    check(&tls, &options);
    tls.close();
    options
}

fn check(tls: &Section<'_>, options: &TlsOptions) {
    match (&options.cert, &options.key) {
        (Some(_), None) => tls.problem_here("a certificate needs its key: set key or key_file"),
        (None, Some(_)) => tls.problem_here("a key needs its certificate: set cert or cert_file"),
        _ => {}
    }
    if let (Some(min), Some(max)) = (options.min_version, options.max_version)
        && min > max
    {
        tls.problem("max_version", "max_version is older than min_version");
    }
    let is_old = |version: Option<TlsVersion>| version.is_some_and(|version| version < TlsVersion::Tls12);
    if is_old(options.max_version) {
        let message = "versions before TLS 1.2 are not spoken; such a server cannot be reached";
        tls.cx.unsupported(tls.place_of("max_version"), tls.path_of("max_version"), message);
    } else if is_old(options.min_version) {
        let message = "versions before TLS 1.2 are not spoken; 1.2 is the oldest";
        tls.cx.note(tls.place_of("min_version"), tls.path_of("min_version"), message);
    }
}

fn version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "TLS10" => Ok(TlsVersion::Tls10),
        "TLS11" => Ok(TlsVersion::Tls11),
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        other => Err(format!("{} is not a version; there are TLS10, TLS11, TLS12 and TLS13", shown(other))),
    }
}
