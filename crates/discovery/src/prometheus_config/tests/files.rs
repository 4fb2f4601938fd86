//! Several files.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder that goes away with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("metricsd-prometheus-config-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn further_files_bring_further_jobs() {
    let folder = Folder::new("further");
    let main = folder.write(
        "prometheus.yml",
        "global: {scrape_interval: 7s}\nscrape_config_files: ['jobs/*.yml', more/one.yml]\nscrape_configs: [{job_name: main}]\n",
    );
    folder.write("jobs/b.yml", "scrape_configs: [{job_name: b, bearer_token_file: token}]");
    folder.write("jobs/a.yml", "scrape_configs: [{job_name: a}]");
    folder.write("jobs/c.txt", "no");
    folder.write("more/one.yml", "");
    let config = load(&main).unwrap();
    let names: Vec<_> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["main", "a", "b"]);
    assert_eq!(config.jobs[1].scrape.scrape_interval.to_string(), "7s");
    let expected: Vec<_> = ["prometheus.yml", "jobs/a.yml", "jobs/b.yml", "more/one.yml"]
        .iter()
        .map(|name| folder.0.join(name))
        .collect();
    assert_eq!(config.files, expected);
    assert_eq!(config.patterns.len(), 2);
    assert_eq!(config.references[0].what, folder.0.join("jobs/token").to_string_lossy());
}

#[test]
fn mistakes_name_their_file() {
    let folder = Folder::new("mistakes");
    let main = folder.write(
        "prometheus.yml",
        "scrape_config_files: [jobs/*.yml, gone.yml]\nscrape_configs: [{job_name: a}]\n",
    );
    folder.write("jobs/a.yml", "scrape_configs:\n- job_name: a\n- job_nam: b\n");
    folder.write("jobs/b.yml", "global: {}\n");
    let message = load(&main).unwrap_err().to_string().replace(&format!("{}/", folder.0.display()), "");
    let lines: Vec<_> = message.lines().collect();
    assert!(
        lines[0].starts_with("jobs/a.yml:2:3: scrape_configs[0]: there is a job \"a\" already, at"),
        "{message}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("jobs/a.yml:3:3: scrape_configs[1].job_nam: ")),
        "{message}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("jobs/b.yml:1:1: global: there is no such field")),
        "{message}"
    );
    assert!(
        lines.iter().any(
            |line| line.starts_with("prometheus.yml:1:35: scrape_config_files: gone.yml: cannot be read")
        )
    );
}

#[test]
fn files_are_bounded_texts() {
    let folder = Folder::new("bounds");
    let large = folder.write("large.yml", vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]);
    assert!(load(&large).unwrap_err().to_string().ends_with("is larger than 8 MiB"));
    let binary = folder.write("binary.yml", b"a: 1\nb: \xff\n");
    assert!(load(&binary).unwrap_err().to_string().ends_with("is not UTF-8: line 2 holds other bytes"));
    assert!(load(&folder.0.join("none.yml")).unwrap_err().to_string().contains("cannot be read: "));
}

#[test]
fn a_pipe_among_the_files_is_told_and_waits_for_nobody() {
    let folder = Folder::new("pipe");
    let main = folder.write("prometheus.yml", "scrape_config_files: [one.yml, 'jobs/*.yml']\n");
    folder.write("jobs/a.yml", "scrape_configs: [{job_name: a}]");
    for name in ["one.yml", "jobs/b.yml"] {
        let made = std::process::Command::new("mkfifo").arg(folder.0.join(name)).status();
        assert!(made.unwrap().success());
    }
    let (sender, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(load(&main).map(|_| ())));
    let loaded = answer.recv_timeout(std::time::Duration::from_secs(20)).expect("it does not wait");
    let message = loaded.unwrap_err().to_string();
    assert!(message.contains("one.yml: is no regular file"), "{message}");
    assert_eq!(message.lines().count(), 1, "what a pattern fits is passed over: {message}");
}
