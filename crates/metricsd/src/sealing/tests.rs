//! Sealing alone, and before a catalogue.

use std::collections::{BTreeMap, HashSet};

use metricsd_model::{CollectionMethod, MetricSource, PromDuration, ScrapeConfig};
use metricsd_model::{HeaderValues, HttpAuth, HttpOptions, Oauth2Options, ProxyOptions, ScrapeOptions};
use metricsd_model::{Secret, SecretSource, TlsOptions};
use metricsd_ports::memory::MemoryStore;

use super::*;

fn sealer(first: &str) -> Sealer {
    Sealer::new(&SealingKey::parse(&format!("{first}{}", "0".repeat(63))).unwrap()).unwrap()
}

fn all_kinds() -> [AuthConfig; 3] {
    [
        AuthConfig::Basic { username: "me".into(), password: Secret::new("hunter2") },
        AuthConfig::Bearer { token: Secret::new("hunter2 \"ü\"") },
        AuthConfig::Header { name: "X-Key".into(), value: Secret::new("") },
    ]
}

fn text(auth: &AuthConfig) -> &str {
    match auth {
        AuthConfig::Sealed { sealed } => sealed,
        other => panic!("{other:?} is not sealed"),
    }
}

#[test]
fn what_is_sealed_comes_back_for_its_target_and_key_only() {
    let sealer_a = sealer("a");
    for auth in all_kinds() {
        let sealed = sealer_a.seal("t", &auth).unwrap();
        assert!(text(&sealed).starts_with("v1:"));
        assert!(!text(&sealed).contains("hunter2"));
        assert_eq!(sealer_a.unseal("t", text(&sealed)), Some(auth.clone()));
        assert_eq!(sealer_a.unseal("other", text(&sealed)), None);
        assert_eq!(sealer("b").unseal("t", text(&sealed)), None);
        // The same again for the same target alone, and sealing what is sealed changes nothing.
        assert_eq!(sealer_a.seal("t", &auth).unwrap(), sealed);
        assert_ne!(text(&sealer_a.seal("other", &auth).unwrap())[..16], text(&sealed)[..16]);
        assert_eq!(sealer_a.seal("t", &sealed).unwrap(), sealed);
    }
}

#[test]
fn no_two_texts_share_a_nonce() {
    let sealer = sealer("a");
    let pairs = [("t", "ab"), ("ta", "b"), ("", "tab"), ("t", "ac")];
    let nonces = pairs.map(|(place, text)| sealer.nonce(place, text).unwrap());
    assert_eq!(HashSet::from(nonces).len(), pairs.len());
}

#[test]
fn damaged_texts_do_not_unseal() {
    let sealer = sealer("a");
    let sealed = sealer.seal("t", &all_kinds()[0]).unwrap();
    let good = text(&sealed);
    let mut flipped = STANDARD.decode(&good[3..]).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    let flipped = format!("v1:{}", STANDARD.encode(flipped));
    for bad in ["", "v1:", "v1:AAAA", "v2:AAAA", "hunter2", &good[3..], &good[..good.len() - 4], &flipped] {
        assert_eq!(sealer.unseal("t", bad), None, "{bad}");
    }
}

fn spec(target_id: &str, authentication: Option<AuthConfig>) -> TargetSpec {
    TargetSpec {
        target_id: target_id.into(),
        source_id: "s".into(),
        source_type: MetricSource::Application,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: "localhost:1".into(),
            scrape_interval: PromDuration::from_secs(15),
            scrape_timeout: PromDuration::from_secs(10),
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            authentication,
            honor_labels: false,
            honor_timestamps: true,
            options: std::sync::Arc::default(),
        },
        labels: BTreeMap::new(),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}

fn auth_of(target: &Target) -> Option<&AuthConfig> {
    target.spec.scrape_config.authentication.as_ref()
}

#[tokio::test]
async fn a_database_sees_no_secret_and_callers_see_no_seal() {
    let store = Arc::new(MemoryStore::new());
    let catalog = SealedCatalog::new(store.clone(), sealer("a"));
    let [basic, bearer, _] = all_kinds();
    let Created::New(created) = catalog.create_target(&spec("t", Some(basic.clone()))).await.unwrap() else {
        panic!("it was there before")
    };
    assert_eq!(auth_of(&created), Some(&basic));
    let Created::Existing(existing) = catalog.create_target(&spec("t", Some(bearer.clone()))).await.unwrap()
    else {
        panic!("it was created twice")
    };
    assert_eq!(auth_of(&existing), Some(&basic));
    let stored = store.target("t").await.unwrap().unwrap();
    assert!(text(auth_of(&stored).unwrap()).starts_with("v1:"));

    let replaced = catalog.replace_target(&spec("t", Some(bearer.clone()))).await.unwrap().unwrap();
    assert_eq!(auth_of(&replaced), Some(&bearer));
    let change = TargetChange { enabled: Some(false), labels: None };
    let changed = catalog.change_target("t", &change).await.unwrap().unwrap();
    assert_eq!(auth_of(&changed), Some(&bearer));
    let listed = catalog.targets(&TargetFilter::default(), 10).await.unwrap();
    assert_eq!(auth_of(&listed[0]), Some(&bearer));
    let changes = catalog.changes(0, Duration::ZERO).await.unwrap();
    assert_eq!(auth_of(&changes[0]), Some(&bearer));
    let deleting = catalog.request_deletion("t").await.unwrap().unwrap();
    assert_eq!(auth_of(&deleting), Some(&bearer));
    assert!(catalog.finish_deletion("t").await.unwrap());
}

#[tokio::test]
async fn without_the_key_credentials_stay_sealed_and_the_rest_works() {
    let store = Arc::new(MemoryStore::new());
    let theirs = SealedCatalog::new(store.clone(), sealer("a"));
    theirs.create_target(&spec("t", Some(all_kinds()[0].clone()))).await.unwrap();
    theirs.create_target(&spec("u", None)).await.unwrap();
    let ours = SealedCatalog::new(store, sealer("b"));
    let target = ours.target("t").await.unwrap().unwrap();
    assert!(matches!(auth_of(&target), Some(AuthConfig::Sealed { .. })));
    assert_eq!(auth_of(&ours.target("u").await.unwrap().unwrap()), None);
}

/// Settings with a secret in every place that can have one.
fn secret_options() -> Arc<ScrapeOptions> {
    let inline = |text: &str| Some(SecretSource::Inline(Secret::new(format!("hunter2-{text}"))));
    let tls = |prefix: &str| TlsOptions {
        ca: inline(&format!("{prefix}ca")),
        cert: inline(&format!("{prefix}cert")),
        key: inline(&format!("{prefix}key")),
        ..TlsOptions::default()
    };
    let proxy = |prefix: &str| ProxyOptions {
        url: inline(&format!("{prefix}url")),
        connect_headers: [(
            "X-Tunnel".to_owned(),
            vec![inline("a").unwrap(), inline("b").unwrap(), SecretSource::Env("E".into())],
        )]
        .into(),
        ..ProxyOptions::default()
    };
    let oauth2 = Oauth2Options {
        client_id: "me".into(),
        client_secret: inline("client"),
        endpoint_params: [("password".to_owned(), inline("param").unwrap())].into(),
        tls: tls("oauth-"),
        proxy: proxy("oauth-"),
        ..Oauth2Options::default()
    };
    let http = HttpOptions {
        auth: Some(HttpAuth::Oauth2(Box::new(oauth2))),
        tls: tls(""),
        proxy: proxy(""),
        headers: [("X-Key".to_owned(), HeaderValues { values: vec![], secrets: vec![inline("h").unwrap()] })]
            .into(),
        ..HttpOptions::default()
    };
    Arc::new(ScrapeOptions { http, ..ScrapeOptions::default() })
}

#[tokio::test]
async fn secrets_in_settings_are_sealed_each_for_its_place() {
    let store = Arc::new(MemoryStore::new());
    let catalog = SealedCatalog::new(store.clone(), sealer("a"));
    let mut given = spec("t", None);
    given.scrape_config.options = secret_options();
    let Created::New(created) = catalog.create_target(&given).await.unwrap() else { panic!("it was there") };
    assert_eq!(created.spec, given);
    let mut stored = store.target("t").await.unwrap().unwrap();
    let mut sealed = Vec::new();
    Arc::make_mut(&mut stored.spec.scrape_config.options).http.visit_secrets(
        &mut |field, source| match source {
            SecretSource::Sealed(text) => sealed.push(text.clone()),
            SecretSource::Env(_) => {}
            other => panic!("{field}: {other:?} is in the database"),
        },
    );
    assert_eq!(sealed.len(), 15);
    assert!(!format!("{stored:?}").contains("hunter2"));
    assert_eq!(catalog.target("t").await.unwrap().unwrap().spec, given);

    // Neither another target nor another setting can make use of what is sealed.
    let mut moved = stored.spec.clone();
    moved.target_id = "u".into();
    store.create_target(&moved).await.unwrap();
    let found = catalog.target("u").await.unwrap().unwrap();
    assert_eq!(found.spec.scrape_config.options, stored.spec.scrape_config.options);
    let theirs = SealedCatalog::new(store, sealer("b")).target("t").await.unwrap().unwrap();
    assert_eq!(theirs.spec.scrape_config.options, stored.spec.scrape_config.options);
}

/// Sealed texts differ from target to target; what the rest of the program holds need not.
#[tokio::test]
async fn targets_with_the_same_secrets_share_their_settings() {
    let store = Arc::new(MemoryStore::new());
    let catalog = SealedCatalog::new(store, sealer("a"));
    let plain = spec;
    let spec = |id: &str, password: &str| {
        let auth = HttpAuth::Basic {
            username: Some(SecretSource::Env("METRICSD_SECRET_ME".into())),
            password: Some(SecretSource::Inline(Secret::new(password))),
        };
        let http = HttpOptions { auth: Some(auth), ..HttpOptions::default() };
        let mut spec = plain(id, None);
        spec.scrape_config.options = Arc::new(ScrapeOptions { http, ..ScrapeOptions::default() });
        spec
    };
    for (id, password) in [("a", "same"), ("b", "same"), ("c", "other")] {
        catalog.create_target(&spec(id, password)).await.unwrap();
    }
    let all = catalog.changes(0, Duration::ZERO).await.unwrap();
    let options = |at: usize| &all[at].spec.scrape_config.options;
    assert!(Arc::ptr_eq(options(0), options(1)) && !Arc::ptr_eq(options(0), options(2)));
    assert_eq!(all[0].spec, spec("a", "same"));
}
