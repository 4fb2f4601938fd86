//! The whole way from a file, an environment and flags to a configuration, or to what is said of a mistake.

use std::path::Path;

use super::*;
use crate::testing::TempDir;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_environment(pairs: &[(&str, &str)]) -> Result<Config, String> {
    let sources = Sources { environment: environment(pairs), ..Sources::default() };
    sources.load().map(|(config, _)| config).map_err(|error| error.to_string())
}

fn load_file(path: &Path) -> Result<(Config, Effective), String> {
    let sources = Sources { file: Some(path.to_owned()), ..Sources::default() };
    sources.load().map_err(|error| error.to_string())
}

/// Each file says in its first lines what is to be said of it; `FILE` stands for its path.
#[test]
fn every_mistake_is_named_with_its_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config");
    let mut seen = 0;
    let mut differing = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# expect: ")).collect();
        let said = load_file(&path).map_or_else(|error| error, |_| "nothing".to_owned());
        let said = said.replace(&path.display().to_string(), "FILE");
        if said != expected.join("\n") {
            differing.push(format!("{}\n{said}", path.display()));
        }
        seen += 1;
    }
    assert!(differing.is_empty(), "said otherwise than expected:\n{}", differing.join("\n\n"));
    assert!(seen > 40, "only {seen} files in {}", folder.display());
}

#[test]
fn nothing_at_all_is_standalone() {
    let config = load_environment(&[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:9099");
    assert!(config.is_standalone());
    assert_eq!(config.storage.backend, StorageBackend::Sqlite("./data/metricsd.db".into()));
    assert_eq!(config.cache, CacheConfig::InProcess);
    assert_eq!(config.events, EventsConfig::InProcess);
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.commit.max_delay, config.commit.max_bytes), (Duration::from_millis(20), 4 << 20));
    assert!(config.scrape.self_scrape);
    assert_eq!(config.scrape.node_exporter.as_deref(), Some("http://127.0.0.1:9100/metrics"));
    assert_eq!(config.sealing_key, None);
}

#[test]
fn a_complete_file_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/complete.yml");
    let (config, effective) = load_file(&path).unwrap();
    assert_eq!(config.roles.names(), ["api", "worker"]);
    assert!(!config.is_standalone());
    let EventsConfig::Kafka(kafka) = &config.events else { panic!("no Kafka") };
    assert_eq!(kafka.format, EventFormat::Protobuf);
    assert_eq!(kafka.settings["linger.ms"].expose(), "5");
    assert_eq!(config.scrape.allow_cidrs[1].to_string(), "169.254.2.1/32");
    assert_eq!(config.limits.max_body_bytes, 1 << 20);
    assert_eq!((config.retention.default, config.retention.max_exemplars), (None, 10), "0s is no bound");
    // Not standalone, so that several processes do not each add themselves.
    assert!(!config.scrape.self_scrape);
    assert_eq!(config.scrape.node_exporter, None);
    assert!(config.promql.experimental);
    assert_eq!((config.promql.max_bytes, config.promql.max_points), (256 << 20, 11_000));
    assert_eq!(config.cors.origins.len(), 2);
    assert!(config.cors.pattern.as_ref().unwrap().is_match("https://grafana.example"));
    let flat = effective.flat();
    assert_eq!((flat["promql.look_back"].as_str(), flat["roles"].as_str()), ("2m", "api,worker"));
    let flat = format!("{flat:?}");
    let shown = [effective.yaml().unwrap(), effective.json().unwrap(), format!("{config:?}"), flat];
    assert!(shown.iter().all(|text| !text.contains("hunter2")), "{shown:?}");
    assert!(shown[0].contains("postgres://me:********@db/metricsd"), "{}", shown[0]);
}

#[test]
fn what_is_printed_reads_back() {
    let folder = TempDir::new();
    let (_, effective) = Sources::default().load().unwrap();
    let path = folder.write("printed.yml", &effective.yaml().unwrap());
    let (_, again) = load_file(&path).unwrap();
    assert_eq!(again.yaml().unwrap(), effective.yaml().unwrap());
}

#[test]
fn flags_go_before_environment_before_file_before_defaults() {
    let folder = TempDir::new();
    let file = folder.write("a.yml", "listen: file:1\ndata_dir: file\nlog: {level: warn}\n");
    let other = folder.write("b.yml", "listen: other:1\n");
    let sources = Sources {
        file: Some(file),
        environment: environment(&[
            ("METRICSD_LISTEN", "environment:1"),
            ("METRICSD_DATA_DIR", "environment"),
            ("METRICSD_CONFIG", other.to_str().unwrap()),
        ]),
        flags: vec![("--listen", "listen", "flag:1".to_owned())],
    };
    let (config, _) = sources.load().unwrap();
    assert_eq!(config.listen, "flag:1");
    assert_eq!(config.data_dir, Path::new("environment"));
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.log.format, LogFormat::Text);
    let without_flags = Sources { file: None, flags: Vec::new(), ..sources };
    assert_eq!(without_flags.load().unwrap().0.listen, "environment:1");
    let by_variable = load_environment(&[("METRICSD_CONFIG", other.to_str().unwrap())]);
    assert_eq!(by_variable.unwrap().listen, "other:1");
}

#[test]
fn the_environment_writes_every_kind() {
    let config = load_environment(&[
        ("METRICSD_ROLES", "api, ingest"),
        ("METRICSD_STORAGE_URL", "sqlite:///var/lib/m.db"),
        ("METRICSD_STORAGE_URL_FILE", ""),
        ("METRICSD_SCRAPE_CONCURRENCY", "7"),
        ("METRICSD_SCRAPE_CLOSE_PRIVATE", "true"),
        ("METRICSD_SCRAPE_NODE_EXPORTER", ""),
        ("METRICSD_LIMITS_MAX_QUEUE_BYTES", "1GiB"),
        ("METRICSD_EVENTS_BROKERS", "a:9092,b:9092"),
        ("METRICSD_EVENTS_SETTINGS", "linger.ms=5, sasl.password=p=w"),
        ("METRICSD_SECRETS_KEY", KEY),
        ("METRICSD_TEST_POSTGRES_URL", "ignored"),
        ("HOME", "ignored"),
    ])
    .unwrap();
    assert_eq!(config.roles.names(), ["api", "ingest"]);
    assert_eq!(config.storage.backend, StorageBackend::Sqlite("/var/lib/m.db".into()));
    assert_eq!(config.scrape.concurrency, 7);
    assert!(config.scrape.close_private);
    assert_eq!(config.scrape.node_exporter, None);
    assert_eq!(config.limits.max_queue_bytes, 1 << 30);
    assert_eq!(config.sealing_key, SealingKey::parse(KEY));
    let EventsConfig::Kafka(kafka) = config.events else { panic!("no Kafka") };
    assert_eq!(kafka.brokers, ["a:9092", "b:9092"]);
    assert_eq!(kafka.settings["sasl.password"].expose(), "p=w");
}

#[test]
fn an_interval_that_is_shortened_alone_takes_the_timeout_along() {
    let config = load_environment(&[("METRICSD_SCRAPE_DEFAULT_INTERVAL", "250ms")]).unwrap();
    assert_eq!(config.scrape.default_timeout.millis(), 250);
}

#[test]
fn mistakes_of_the_environment_and_of_flags_name_their_source() {
    let check = |pairs: &[(&str, &str)], expected: &str| {
        assert_eq!(load_environment(pairs).map(|_| ()).unwrap_err(), expected);
    };
    check(
        &[("METRICSD_SCRAPE_DEFAULT_INTERVAL", "15")],
        "METRICSD_SCRAPE_DEFAULT_INTERVAL: scrape.default_interval: \
         \"15\" is not a duration; write it like 15s, 1m30s or 250ms",
    );
    check(
        &[("METRICSD_SCRAPE_INTERVAL", "15s")],
        "METRICSD_SCRAPE_INTERVAL: unknown variable; did you mean METRICSD_SCRAPE_DEFAULT_INTERVAL?",
    );
    check(
        &[("METRICSD_EVENTS_SETTINGS", "acks")],
        "METRICSD_EVENTS_SETTINGS: events.settings: expected name=value pairs with commas between them",
    );
    check(
        &[("METRICSD_CONFIG", "/nonexistent.yml")],
        "/nonexistent.yml: cannot be read: No such file or directory (os error 2)",
    );
    let flags = vec![("--roles", "roles", String::new())];
    let error = Sources { flags, ..Sources::default() }.load().map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "--roles: roles: expected at least one of api, worker, ingest, writer");
}

#[test]
fn secrets_come_from_files() {
    let folder = TempDir::new();
    let at = |name: &str, text: &str| folder.write(name, text).to_str().unwrap().to_owned();
    let url = at("url", "postgres://me:hunter2@db/m\n");
    let (cache, password, key) = (at("cache", "redis://cache"), at("password", "pw\r\n"), at("key", KEY));
    let set = [
        ("METRICSD_STORAGE_URL_FILE", url.as_str()),
        ("METRICSD_CACHE_URL_FILE", &cache),
        ("METRICSD_EVENTS_BROKERS", "a:9092"),
        ("METRICSD_EVENTS_SASL_PASSWORD_FILE", &password),
        ("METRICSD_SECRETS_KEY_FILE", &key),
    ];
    let config = load_environment(&set).unwrap();
    assert_eq!(config.storage.backend, StorageBackend::Postgres(Secret::new("postgres://me:hunter2@db/m")));
    assert_eq!(config.cache, CacheConfig::Redis(Secret::new("redis://cache")));
    assert_eq!(config.sealing_key, SealingKey::parse(KEY));
    let EventsConfig::Kafka(kafka) = config.events else { panic!("no Kafka") };
    assert_eq!(kafka.settings["sasl.password"].expose(), "pw");
    let error =
        load_environment(&[("METRICSD_SECRETS_KEY_FILE", &at("empty", "\n"))]).map(|_| ()).unwrap_err();
    assert!(error.ends_with("is empty; expected one secret"), "{error}");
}

#[test]
fn shards_come_from_a_list_or_a_file_and_one_of_them_is_home() {
    let folder = TempDir::new();
    let file = folder.write("shards", "postgres://me:hunter2@a/m\n\n  postgres://b/m\n");
    let shard = |url: &str| StorageBackend::Postgres(Secret::new(url));
    let both = [shard("postgres://me:hunter2@a/m"), shard("postgres://b/m")];
    let load = |pairs: &[(&str, &str)]| load_environment(pairs).unwrap().storage;
    let listed = load(&[("METRICSD_STORAGE_SHARDS", "postgres://me:hunter2@a/m, postgres://b/m")]);
    assert_eq!((listed.backend, listed.shards.as_slice()), (both[0].clone(), &both[..]));
    let file = file.to_str().unwrap();
    let read = load(&[("METRICSD_STORAGE_SHARDS_FILE", file), ("METRICSD_STORAGE_URL", "postgres://b/m")]);
    assert_eq!((read.backend, read.shards.as_slice()), (both[1].clone(), &both[..]));
    assert_eq!(both[0].place(), "a/m");
    let one = load(&[("METRICSD_STORAGE_SHARDS", "sqlite:only")]);
    assert_eq!((one.backend, one.shards), (StorageBackend::Sqlite("only".into()), vec![]));
    assert!(load(&[]).shards.is_empty());
}

#[test]
fn of_a_secret_and_its_file_the_higher_layer_wins() {
    let folder = TempDir::new();
    let file = folder.write("a.yml", "storage: {url: 'sqlite:file'}\n");
    let secret = folder.write("url", "sqlite:secret\n");
    let load = |pairs: &[(&str, &str)]| {
        let sources =
            Sources { file: Some(file.clone()), environment: environment(pairs), ..Sources::default() };
        sources.load().unwrap().0.storage.backend
    };
    let by_file = [("METRICSD_STORAGE_URL_FILE", secret.to_str().unwrap())];
    assert_eq!(load(&by_file), StorageBackend::Sqlite("secret".into()));
    assert_eq!(
        load(&[("METRICSD_STORAGE_URL", "sqlite:variable")]),
        StorageBackend::Sqlite("variable".into())
    );
}
