//! Files with lists of groups that appear, change, break, are mended and disappear.

mod common;

use common::{Folder, Run, set};
use metricsd_discovery::config::FileSd;
use metricsd_discovery::provider::Update;
use metricsd_discovery::providers::FileProvider;
use metricsd_model::PromDuration;

fn provider(files: &[String], interval: &str) -> FileProvider {
    let interval = metricsd_model::parse_duration(interval).unwrap();
    FileProvider::new(FileSd { files: files.to_vec(), refresh_interval: PromDuration(interval) })
}

#[tokio::test]
async fn files_appear_change_break_come_back_and_disappear() {
    let folder = Folder::new("life");
    let pattern = folder.0.join("*.json").display().to_string();
    let mut run = Run::start(provider(&[pattern], "1h"));
    assert_eq!(run.next().await, Update::All(Vec::new()));

    let path = folder.write("a.json", r#"[{"targets": ["a:1", "a:2"], "labels": {"env": "x"}}]"#);
    run.until("found", |run| run.addresses() == set(&["a:1", "a:2"])).await;
    let target = &run.targets()[0];
    assert_eq!((target["env"].as_str(), target["__meta_filepath"].as_str()), ("x", path.as_str()));

    folder.write("b.json", r#"[{"targets": ["b:1"]}]"#);
    folder.write("ignored.yml", "- targets: [no:1]");
    run.until("found", |run| run.addresses() == set(&["a:1", "a:2", "b:1"])).await;

    folder.write("a.json", r#"[{"targets": ["a:3"#);
    run.until("broken", |run| run.error.is_some()).await;
    let error = run.error.clone().unwrap();
    assert!(error.starts_with(&path) && error.contains("not a list of groups"), "{error}");
    assert_eq!(run.addresses(), set(&["a:1", "a:2", "b:1"]));

    folder.write("a.json", r#"[{"targets": ["a:3"]}]"#);
    run.until("mended", |run| run.error.is_none() && run.addresses() == set(&["a:3", "b:1"])).await;

    std::fs::remove_file(&path).unwrap();
    run.until("gone", |run| run.addresses() == set(&["b:1"])).await;
    run.stop().await;
}

#[tokio::test]
async fn a_yaml_file_is_followed_through_a_swapped_link() {
    let folder = Folder::new("link");
    for (version, target) in [("v1", "a:1"), ("v2", "a:2")] {
        std::fs::create_dir_all(folder.0.join(version)).unwrap();
        folder.write(
            &format!("{version}/list.yml"),
            &format!("- targets: ['{target}']\n  labels: {{port: 9100}}\n"),
        );
    }
    let link = folder.0.join("now");
    std::os::unix::fs::symlink("v1", &link).unwrap();
    let mut run = Run::start(provider(&[link.join("list.yml").display().to_string()], "1h"));
    run.until("found", |run| run.addresses() == set(&["a:1"])).await;
    assert_eq!(run.targets()[0]["port"], "9100");
    std::os::unix::fs::symlink("v2", folder.0.join("next")).unwrap();
    std::fs::rename(folder.0.join("next"), &link).unwrap();
    run.until("swapped", |run| run.addresses() == set(&["a:2"])).await;
    run.stop().await;
}

#[tokio::test]
async fn a_file_that_is_missing_is_told_and_taken_when_it_comes() {
    let folder = Folder::new("missing");
    let path = folder.0.join("later.yaml").display().to_string();
    let mut run = Run::start(provider(std::slice::from_ref(&path), "1h"));
    run.until("missed", |run| run.error.is_some()).await;
    assert_eq!(run.error.as_deref(), Some(format!("{path}: there is no such file").as_str()));
    folder.write("later.yaml", "- targets: [l:1]");
    run.until("found", |run| run.error.is_none() && run.addresses() == set(&["l:1"])).await;
    run.stop().await;
}

#[tokio::test]
async fn the_interval_reads_a_file_whose_change_does_not_show() {
    let folder = Folder::new("hidden");
    let path = folder.write("a.json", r#"[{"targets": ["a:1"]}]"#);
    let mut run = Run::start(provider(std::slice::from_ref(&path), "3s"));
    run.until("found", |run| run.addresses() == set(&["a:1"])).await;
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    folder.write("a.json", r#"[{"targets": ["a:2"]}]"#);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    run.until("read", |run| run.addresses() == set(&["a:2"])).await;
    run.stop().await;
}

#[tokio::test]
async fn a_pipe_among_the_files_holds_nothing_up() {
    let folder = Folder::new("pipe");
    let pipe = folder.0.join("p.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    folder.write("q.json", r#"[{"targets": ["q:1"]}]"#);
    let mut run = Run::start(provider(&[folder.0.join("*.json").display().to_string()], "1h"));
    run.until("found", |run| run.addresses() == set(&["q:1"]) && run.error.is_some()).await;
    let error = run.error.clone().unwrap();
    assert!(error.starts_with(&format!("{}: it is no regular file", pipe.display())), "{error}");
    folder.write("q.json", r#"[{"targets": ["q:2"]}]"#);
    run.until("followed", |run| run.addresses() == set(&["q:2"])).await;
    run.stop().await;
}

#[tokio::test]
async fn a_file_goes_though_its_neighbour_was_never_good() {
    let folder = Folder::new("neighbour");
    let good = folder.write("a.json", r#"[{"targets": ["a:1"]}]"#);
    folder.write("b.json", "[{");
    let mut run = Run::start(provider(&[folder.0.join("*.json").display().to_string()], "1h"));
    run.until("found", |run| run.addresses() == set(&["a:1"]) && run.error.is_some()).await;
    std::fs::remove_file(good).unwrap();
    run.until("gone", |run| run.addresses().is_empty()).await;
    folder.write("b.json", r#"[{"targets": ["b:1"]}]"#);
    run.until("mended", |run| run.addresses() == set(&["b:1"]) && run.error.is_none()).await;
    run.stop().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_keeps_its_targets() {
    let folder = Folder::new("unreadable");
    let (lists, aside) = (folder.0.join("lists"), folder.0.join("aside"));
    std::fs::create_dir_all(&lists).unwrap();
    folder.write("lists/a.json", r#"[{"targets": ["a:1"]}]"#);
    let mut run = Run::start(provider(&[lists.join("*.json").display().to_string()], "2s"));
    run.until("found", |run| run.addresses() == set(&["a:1"])).await;
    // What stands in its place cannot be listed, for root neither.
    std::fs::rename(&lists, &aside).unwrap();
    std::fs::write(&lists, "no folder").unwrap();
    run.until("told", |run| run.error.is_some()).await;
    for _ in 0..4 {
        run.next().await;
        assert_eq!(run.addresses(), set(&["a:1"]));
    }
    std::fs::remove_file(&lists).unwrap();
    std::fs::rename(&aside, &lists).unwrap();
    folder.write("lists/a.json", r#"[{"targets": ["a:2"]}]"#);
    run.until("back", |run| run.error.is_none() && run.addresses() == set(&["a:2"])).await;
    // A folder that is gone has no files.
    std::fs::remove_dir_all(&lists).unwrap();
    run.until("gone", |run| run.addresses().is_empty()).await;
    run.stop().await;
}
