//! Services in a catalogue that appear, change, break, come back and disappear.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::consul_server::{Consul, instance};
use common::{Run, context, serve, set};
use metricsd_discovery::config::ConsulSd;
use metricsd_discovery::providers::ConsulProvider;
use metricsd_model::{HttpOptions, PromDuration, Secret, SecretSource};

fn config(server: &str) -> ConsulSd {
    ConsulSd {
        server: server.into(),
        path_prefix: "/consul".into(),
        token: Some(SecretSource::Inline(Secret::new("t0ken"))),
        datacenter: None,
        namespace: None,
        partition: None,
        scheme: "http".into(),
        services: Vec::new(),
        tags: Vec::new(),
        node_meta: BTreeMap::new(),
        filter: None,
        health_filter: None,
        tag_separator: ",".into(),
        allow_stale: true,
        refresh_interval: PromDuration(Duration::from_millis(200)),
        http: HttpOptions::default(),
    }
}

fn start(config: &ConsulSd) -> Run {
    Run::start(ConsulProvider::new(config, &context()).unwrap())
}

#[tokio::test]
async fn services_appear_change_break_come_back_and_disappear() {
    let consul = Consul::new();
    let server = serve(consul.router()).await;
    consul.set("web", vec![instance("web", "", 80, &["a", "b"], "passing")]);
    let mut run = start(&config(&server));
    run.until("found", |run| run.addresses() == set(&["10.1.0.1:80"])).await;
    let expected = [
        ("__address__", "10.1.0.1:80"),
        ("__meta_consul_address", "10.1.0.1"),
        ("__meta_consul_dc", "dc1"),
        ("__meta_consul_health", "passing"),
        ("__meta_consul_metadata_rack_id", "r7"),
        ("__meta_consul_namespace", "default"),
        ("__meta_consul_node", "n1"),
        ("__meta_consul_partition", "default"),
        ("__meta_consul_service", "web"),
        ("__meta_consul_service_address", ""),
        ("__meta_consul_service_id", "web-1"),
        ("__meta_consul_service_metadata_version", "2"),
        ("__meta_consul_service_port", "80"),
        ("__meta_consul_tagged_address_lan", "10.1.0.1"),
        ("__meta_consul_tagged_address_wan_v4", "1.2.3.4"),
        ("__meta_consul_tags", ",a,b,"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(run.targets(), [BTreeMap::from(expected)]);
    assert_eq!(consul.asked.lock()[0], "services stale= token=t0ken");

    consul.set("db", vec![instance("db", "10.2.0.9", 5432, &[], "critical")]);
    run.until("found", |run| run.addresses() == set(&["10.1.0.1:80", "10.2.0.9:5432"])).await;
    assert_eq!(run.groups["db"].targets[0]["__meta_consul_health"], "critical");
    consul.set(
        "web",
        vec![instance("web", "", 81, &["a"], "passing"), instance("web", "::1", 82, &["a"], "warning")],
    );
    run.until("changed", |run| run.addresses() == set(&["10.1.0.1:81", "[::1]:82", "10.2.0.9:5432"])).await;

    consul.set_down(true);
    run.until("broken", |run| run.error.is_some()).await;
    let error = run.error.clone().unwrap();
    assert!(error.contains("it answered 500 instead of 200") && !error.contains("t0ken"), "{error}");
    assert_eq!(run.addresses().len(), 3);
    consul.set_down(false);
    run.until("back", |run| run.error.is_none()).await;

    consul.set("db", Vec::new());
    run.until("gone", |run| run.addresses() == set(&["10.1.0.1:81", "[::1]:82"])).await;

    // A server that was restored counts anew; changes are still seen.
    consul.restore();
    consul.set("web", vec![instance("web", "", 90, &[], "passing")]);
    run.until("seen", |run| run.addresses() == set(&["10.1.0.1:90"])).await;
    run.stop().await;
}

#[tokio::test]
async fn everything_is_told_at_once_first() {
    let consul = Consul::new();
    let server = serve(consul.router()).await;
    for port in 1..=20 {
        let name = format!("s{port}");
        consul.set(&name, vec![instance(&name, "", port, &[], "passing")]);
    }
    let mut run = start(&config(&server));
    run.next().await;
    assert_eq!((run.addresses().len(), &run.error), (20, &None));
    run.stop().await;
}

#[tokio::test]
async fn a_question_waits_at_the_server_for_a_change() {
    let consul = Consul::new();
    let server = serve(consul.router()).await;
    consul.set("web", vec![instance("web", "", 80, &[], "passing")]);
    let mut run = start(&config(&server));
    run.until("found", |run| run.addresses().len() == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = consul.asked.lock().len();
    assert!((3..=5).contains(&asked), "one question each, and one each that waits: {asked}");
    run.stop().await;
}

#[tokio::test]
async fn only_services_with_the_names_and_tags_are_watched() {
    let consul = Consul::new();
    let server = serve(consul.router()).await;
    consul.set("web", vec![instance("web", "", 80, &["prod"], "passing")]);
    consul.set("db", vec![instance("db", "", 81, &["test"], "passing")]);
    consul.set("mq", vec![instance("mq", "", 82, &["prod"], "passing")]);
    let settings = ConsulSd {
        tags: vec!["prod".into()],
        node_meta: [("rack".to_owned(), "r7".to_owned())].into(),
        filter: Some("ServiceName != x".into()),
        datacenter: Some("dc9".into()),
        allow_stale: false,
        ..config(&server)
    };
    let mut run = start(&settings);
    run.until("found", |run| run.addresses() == set(&["10.1.0.1:80", "10.1.0.1:82"])).await;
    assert_eq!(
        consul.asked.lock()[0],
        "services dc=dc9&filter=ServiceName != x&node-meta=rack:r7 token=t0ken"
    );
    run.stop().await;

    let settings = ConsulSd { services: vec!["web".into(), "db".into()], ..config(&server) };
    consul.asked.lock().clear();
    let mut run = start(&settings);
    run.until("found", |run| run.addresses() == set(&["10.1.0.1:80", "10.1.0.1:81"])).await;
    assert!(consul.asked.lock().iter().all(|asked| asked.starts_with("health")));
    run.stop().await;
}
