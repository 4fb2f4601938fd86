//! How requests are made: `http_config` of Prometheus' documentation, whose fields stand beside those of the section that
//! uses it.

use std::collections::BTreeMap;

use metricsd_model::{
    HeaderValues, HttpAuth, HttpOptions, Oauth2Options, ProxyOptions, Secret, SecretSource,
};

use super::section::{SecretFields, Section, describe};
use super::tls;
use super::value::shown;
use super::yaml::{Node, Value};

/// Takes the fields of `http_config` out of a section.
pub(super) fn read(section: &mut Section<'_>) -> HttpOptions {
    let defaults = HttpOptions::default();
    HttpOptions {
        auth: auth(section),
        tls: tls::read(section),
        proxy: proxy(section),
        follow_redirects: section.flag("follow_redirects").unwrap_or(defaults.follow_redirects),
        enable_http2: section.flag("enable_http2").unwrap_or(defaults.enable_http2),
        headers: headers(section),
    }
}

fn auth(section: &mut Section<'_>) -> Option<HttpAuth> {
    let ways = [
        ("basic_auth", basic(section)),
        ("authorization", authorization(section)),
        ("oauth2", oauth2(section)),
        ("bearer_token", bearer(section)),
    ];
    let mut given = ways.into_iter().filter_map(|(name, way)| Some((name, way?)));
    let (first, way) = given.next()?;
    for (name, _) in given {
        section
            .problem(name, format!("{first} is set as well; a request can say in one way only who we are"));
    }
    Some(way)
}

fn basic(section: &mut Section<'_>) -> Option<HttpAuth> {
    let mut basic = section.section("basic_auth")?;
    let username =
        basic.secret(&SecretFields { inline: "username", file: "username_file", env: Some("username_env") });
    let password =
        basic.secret(&SecretFields { inline: "password", file: "password_file", env: Some("password_env") });
    basic.close();
    Some(HttpAuth::Basic { username, password })
}

fn authorization(section: &mut Section<'_>) -> Option<HttpAuth> {
    let mut authorization = section.section("authorization")?;
    let scheme =
        authorization.filled("type").map_or_else(|| "Bearer".to_owned(), |kind| kind.trim().to_owned());
    if scheme.eq_ignore_ascii_case("basic") {
        authorization.problem("type", "Basic needs a user and a password: use basic_auth");
    }
    let credentials = authorization.secret(&SecretFields {
        inline: "credentials",
        file: "credentials_file",
        env: Some("credentials_env"),
    });
    authorization.close();
    Some(HttpAuth::Authorization { scheme, credentials })
}

fn bearer(section: &mut Section<'_>) -> Option<HttpAuth> {
    let fields = SecretFields { inline: "bearer_token", file: "bearer_token_file", env: None };
    let credentials = section.secret(&fields)?;
    Some(HttpAuth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(credentials) })
}

fn oauth2(section: &mut Section<'_>) -> Option<HttpAuth> {
    let mut oauth2 = section.section("oauth2")?;
    let options = Oauth2Options {
        client_id: oauth2.filled("client_id").unwrap_or_default(),
        client_secret: oauth2.secret(&SecretFields {
            inline: "client_secret",
            file: "client_secret_file",
            env: Some("client_secret_env"),
        }),
        scopes: oauth2.plain_texts("scopes"),
        token_url: oauth2.filled("token_url").unwrap_or_default(),
        // They often hold a password, so that all are kept as secrets.
        endpoint_params: oauth2.text_map("endpoint_params").into_iter().map(inline).collect(),
        tls: tls::read(&mut oauth2),
        proxy: proxy(&mut oauth2),
    };
    if options.client_id.is_empty() {
        oauth2.problem("client_id", "client_id is missing: it says who asks for a token");
    }
    if options.token_url.is_empty() {
        oauth2.problem("token_url", "token_url is missing: it says where tokens are had");
    } else if let Err(message) = http_url(&options.token_url).and_then(|()| without_user(&options.token_url))
    {
        oauth2.problem("token_url", message);
    }
    for (name, _) in oauth2.others(assertion_field) {
        let message = "tokens are asked for with a client secret only, not with a signed assertion";
        oauth2.cx.unsupported(oauth2.place_of(name), oauth2.path_of(name), message);
    }
    oauth2.close();
    Some(HttpAuth::Oauth2(Box::new(options)))
}

/// Fields of RFC 7523, which Prometheus knows since 3.8.
fn assertion_field(name: &str) -> Option<&'static str> {
    const FIELDS: [&str; 8] = [
        "grant_type",
        "client_certificate_key_id",
        "client_certificate_key",
        "client_certificate_key_file",
        "signature_algorithm",
        "iss",
        "audience",
        "claims",
    ];
    FIELDS.into_iter().find(|field| *field == name)
}

fn proxy(section: &mut Section<'_>) -> ProxyOptions {
    let proxy = ProxyOptions {
        url: section.filled("proxy_url").map(|url| SecretSource::Inline(Secret::new(url))),
        no_proxy: section.filled("no_proxy"),
        from_environment: section.flag("proxy_from_environment").unwrap_or_default(),
        connect_headers: connect_headers(section),
    };
    if let Some(SecretSource::Inline(url)) = &proxy.url
        && url::Url::parse(url.expose()).map_or(true, |url| !url.has_host())
    {
        // The address may hold a password.
        section.problem("proxy_url", "this is not an address like http://proxy.example:3128");
    }
    if proxy.from_environment && (proxy.url.is_some() || proxy.no_proxy.is_some()) {
        let other = if proxy.url.is_some() { "proxy_url" } else { "no_proxy" };
        section.problem(other, "proxy_from_environment is set as well; leave one of them");
    } else if proxy.no_proxy.is_some() && proxy.url.is_none() {
        section.problem("no_proxy", "proxy_url is missing; without a proxy there is nothing to leave out");
    }
    if !proxy.connect_headers.is_empty() && proxy.url.is_none() && !proxy.from_environment {
        section.problem("proxy_connect_header", "proxy_url is missing; the headers are for a proxy");
    }
    proxy
}

fn connect_headers(section: &mut Section<'_>) -> BTreeMap<String, Vec<SecretSource>> {
    let mut headers = BTreeMap::new();
    for (key, path, node) in section.entries("proxy_connect_header") {
        let values = match &node.value {
            Value::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        let texts = values.into_iter().filter_map(|value| text(section, &path, value));
        let secrets = texts.map(|text| SecretSource::Inline(Secret::new(text))).collect();
        headers.insert(key.name.clone(), secrets);
    }
    headers
}

fn text(section: &Section<'_>, path: &str, node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        other => {
            section.cx.problem(node.place, path, format!("expected a text, found {}", describe(other)));
            None
        }
    }
}

fn headers(section: &mut Section<'_>) -> BTreeMap<String, HeaderValues> {
    let cx = section.cx;
    let mut headers = BTreeMap::new();
    for (key, path, node) in section.entries("http_headers") {
        if let Err(message) = header_name(&key.name) {
            cx.problem(key.place, &path, message);
            continue;
        }
        let Some(mut header) = Section::open(cx, path, node) else { continue };
        let inline = header.plain_texts("secrets").into_iter();
        let mut secrets: Vec<_> = inline.map(|text| SecretSource::Inline(Secret::new(text))).collect();
        for (file, place) in header.texts("files") {
            let path = cx.resolve(&file);
            cx.reference(place, &path, &header.path_of("files"));
            secrets.push(SecretSource::File(path));
        }
        secrets.extend(header.plain_texts("env").into_iter().map(SecretSource::Env));
        let values = HeaderValues { values: header.plain_texts("values"), secrets };
        header.close();
        headers.insert(key.name.clone(), values);
    }
    headers
}

fn header_name(name: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{} cannot be the name of a header", shown(name)));
    }
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "authorization" => Err("use basic_auth, authorization or oauth2 for this header".to_owned()),
        known if metricsd_client::is_reserved_header(known) => {
            Err("this header is set by the request itself".to_owned())
        }
        _ => Ok(()),
    }
}

/// An address is shown; a user name and a password in it would be too.
fn without_user(text: &str) -> Result<(), String> {
    let holds = |url: url::Url| !url.username().is_empty() || url.password().is_some();
    match url::Url::parse(text).is_ok_and(holds) {
        true => {
            Err("it holds a user name or a password; client_id and client_secret are for these".to_owned())
        }
        false => Ok(()),
    }
}

fn inline((name, value): (String, String)) -> (String, SecretSource) {
    (name, SecretSource::Inline(Secret::new(value)))
}

/// Whether a text is an address that can be asked.
pub(super) fn http_url(text: &str) -> Result<(), String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            Err(format!("the scheme must be http or https, not {}", shown(url.scheme())))
        }
        _ => Err("this is not an address like https://host:port/path".to_owned()),
    }
}
