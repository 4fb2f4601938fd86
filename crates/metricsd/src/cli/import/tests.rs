use std::fs;
use std::path::PathBuf;

use super::*;
use crate::config::Sources;

/// A folder that goes away with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("metricsd-import-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn shown(file: &Path) -> (String, serde_json::Value) {
    let config = prometheus_config::load(file).unwrap();
    let jobs = found::look(&config.jobs).await;
    let mut out = Vec::new();
    report::print(&mut out, &config, &jobs).unwrap();
    (String::from_utf8(out).unwrap(), report::json(file, &config, &jobs))
}

#[tokio::test]
async fn a_file_is_shown_with_what_it_would_scrape() {
    let folder = Folder::new("shown");
    folder.write("db.yml", "- targets: [db-1:9187, db-2:9187]\n  labels: {role: main}\n");
    folder.write("secret", "x");
    let file = folder.write(
        "prometheus.yml",
        "rule_files: [a.yml]\nglobal: {evaluation_interval: 1m}\nscrape_configs:\n- job_name: node\n  \
         static_configs: [{targets: ['n:9100', 'x:1', 'a b']}]\n  relabel_configs: [{source_labels: [__address__], \
         regex: 'x.*', action: drop}]\n- job_name: db\n  file_sd_configs: [{files: [db.yml, gone.yml]}]\n  basic_auth: \
         {username: u, password_file: gone}\n  dns_sd_configs: [{names: [db.example]}]\n- job_name: big\n  target_limit: 1\n  \
         authorization: {credentials_file: secret}\n  static_configs: [{targets: [a, b]}]\n",
    );
    let (text, json) = shown(&file).await;
    let has =
        |line: &str| assert!(text.lines().any(|found| found.trim() == line), "no line {line:?} in\n{text}");
    let place = file.display();
    has("node  1m        10s      1        1        static: 3 targets in 1 groups");
    has(&format!(
        "db    1m        10s      2+       0+       file: {0}/db.yml, {0}/gone.yml; dns: SRV of db.example",
        folder.0.display()
    ));
    has("http://db-1:9187/metrics  {instance=\"db-1:9187\",job=\"db\",role=\"main\"}");
    has("node: a b: \"a b\" is not host:port");
    has("big: 2 targets are more than target_limit, 1: none of the job is scraped");
    assert!(
        text.contains(&format!("Not supported:\n  {place}:1:1: rule_files: rules are not evaluated")),
        "{text}"
    );
    assert!(
        text.contains(&format!("Without effect:\n  {place}:2:10: global.evaluation_interval: ")),
        "{text}"
    );
    assert!(text.contains(&format!("{}/gone: No such file", folder.0.display())), "{text}");
    assert!(!text.contains("/secret:"), "{text}");
    assert_eq!(json["unsupported"][0]["line"], 1);
    assert_eq!(json["jobs"][1]["targets"][1]["url"], "http://db-2:9187/metrics");
    assert_eq!(
        (&json["jobs"][0]["dropped"], &json["jobs"][1]["providers_not_asked"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn what_is_not_supported_stops_unless_forced() {
    let folder = Folder::new("stops");
    let file = folder.write("prometheus.yml", "remote_write: [{url: 'http://x'}]\n");
    let config = prometheus_config::load(&file).unwrap();
    let mut args = ImportArgs {
        file,
        dry_run: true,
        force: false,
        config: None,
        client: ClientArgs {
            connection: super::super::Connection { url: None, token_file: None },
            output: Format::Table,
        },
    };
    let failure = refuse_unsupported(&args, &config).unwrap_err();
    let words = "1 setting is not supported, as listed; --force goes on without it";
    assert_eq!(failure.parts(), (Exit::Failed, words));
    args.force = true;
    assert!(refuse_unsupported(&args, &config).is_ok());
}

#[test]
fn a_configuration_that_would_be_wrong_is_left_alone() {
    let folder = Folder::new("left-alone");
    let own = folder.write("metricsd.yml", "lisen: 127.0.0.1:1\n");
    let failure = setting::put(&own, "/p.yml", &Environment::new()).unwrap_err();
    let (exit, words) = failure.parts();
    assert_eq!(exit, Exit::Usage);
    assert!(words.contains(&format!("{}:1: lisen: unknown key", own.display())), "{words}");
    assert_eq!(fs::read_to_string(&own).unwrap(), "lisen: 127.0.0.1:1\n");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    let failure = setting::put(&folder.0.join("none.yml"), "/p.yml", &Environment::new()).unwrap_err();
    assert_eq!(failure.parts().0, Exit::Failed);
}

#[test]
fn the_key_is_written_into_the_configuration() {
    let folder = Folder::new("written");
    let (file, own) = (folder.write("p.yml", ""), folder.write("metricsd.yml", "listen: 127.0.0.1:1\n"));
    let value = file.to_string_lossy();
    assert_eq!(setting::put(&own, &value, &Environment::new()).unwrap(), Setting::Written);
    assert_eq!(setting::put(&own, &value, &Environment::new()).unwrap(), Setting::Unchanged);
    let sources = Sources { file: Some(own.clone()), environment: Environment::new(), flags: Vec::new() };
    assert!(sources.load().is_ok());
    let text = fs::read_to_string(&own).unwrap();
    assert_eq!(text, format!("listen: 127.0.0.1:1\ndiscovery:\n  prometheus_config: \"{value}\"\n"));
}

/// Only root may give files away; whoever else runs this sees that his own files stay his.
#[test]
fn the_configuration_keeps_its_owner_and_permissions() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let folder = Folder::new("owner");
    let own = folder.write("metricsd.yml", "listen: 127.0.0.1:1\n");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o640)).unwrap();
    if fs::metadata(&own).unwrap().uid() == 0 {
        chown(&own, Some(12_345), Some(23_456)).unwrap();
    }
    let facts = |data: fs::Metadata| (data.uid(), data.gid(), data.mode() & 0o777);
    let before = facts(fs::metadata(&own).unwrap());
    assert_eq!(setting::put(&own, "/p.yml", &Environment::new()).unwrap(), Setting::Written);
    assert_eq!(facts(fs::metadata(&own).unwrap()), before);
    assert_eq!(before.2, 0o640);
}
