//! Names that are looked up from a server on loopback.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use common::dns_server::{Answer, DnsServer, name};
use common::{Run, set};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SRV};
use hickory_resolver::proto::rr::{RData, RecordType};
use metricsd_discovery::config::{DnsRecord, DnsSd};
use metricsd_discovery::providers::DnsProvider;
use metricsd_model::PromDuration;

fn provider(server: &DnsServer, names: &[&str], record: DnsRecord, port: Option<u16>) -> DnsProvider {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let refresh_interval = PromDuration(Duration::from_millis(200));
    DnsProvider::with_servers(DnsSd { names, record, port, refresh_interval }, vec![server.address])
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(10, 0, 0, last)))
}

#[tokio::test]
async fn names_appear_change_fail_come_back_and_disappear() {
    let server = DnsServer::start().await;
    let mut run = Run::start(provider(&server, &["web.test.", "db.test."], DnsRecord::A, Some(9100)));
    run.until("answered", |run| run.error.is_none()).await;
    run.next().await;
    assert_eq!(run.targets(), []);

    server.set("web.test.", RecordType::A, Answer::Records(vec![a(1), a(2)]));
    server.set("db.test.", RecordType::A, Answer::Records(vec![RData::CNAME(CNAME(name("x.test."))), a(9)]));
    run.until("found", |run| run.addresses() == set(&["10.0.0.1:9100", "10.0.0.2:9100", "10.0.0.9:9100"]))
        .await;
    assert_eq!(run.groups["web.test."].labels["__meta_dns_name"], "web.test.");

    server.set("web.test.", RecordType::A, Answer::Code(ResponseCode::ServFail));
    server.set("db.test.", RecordType::A, Answer::Records(vec![a(8)]));
    run.until("failed", |run| run.error.is_some()).await;
    let error = run.error.clone().unwrap();
    assert!(error.starts_with("looking up A of web.test. failed"), "{error}");
    // The name that fails keeps what it had, the other goes on.
    let expected = set(&["10.0.0.1:9100", "10.0.0.2:9100", "10.0.0.8:9100"]);
    run.until("changed", |run| run.addresses() == expected).await;

    server.set("web.test.", RecordType::A, Answer::Records(vec![a(3)]));
    run.until("back", |run| {
        run.error.is_none() && run.addresses() == set(&["10.0.0.3:9100", "10.0.0.8:9100"])
    })
    .await;
    server.remove("web.test.", RecordType::A);
    run.until("gone", |run| run.addresses() == set(&["10.0.0.8:9100"])).await;
    run.stop().await;
}

#[tokio::test]
async fn each_kind_of_record_has_its_labels() {
    let server = DnsServer::start().await;
    let srv = RData::SRV(SRV::new(1, 1, 9200, name("node1.test.")));
    let mx = RData::MX(MX::new(10, name("mail.test.")));
    for (kind, data) in [
        (RecordType::AAAA, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
        (RecordType::SRV, srv),
        (RecordType::MX, mx),
        (RecordType::NS, RData::NS(NS(name("ns1.test.")))),
    ] {
        server.set("x.test.", kind, Answer::Records(vec![data]));
    }
    for (record, port, expected) in [
        (DnsRecord::Aaaa, Some(80), vec![("__address__", "[::1]:80")]),
        (
            DnsRecord::Srv,
            None,
            vec![
                ("__address__", "node1.test:9200"),
                ("__meta_dns_srv_record_target", "node1.test."),
                ("__meta_dns_srv_record_port", "9200"),
            ],
        ),
        (
            DnsRecord::Mx,
            Some(25),
            vec![("__address__", "mail.test:25"), ("__meta_dns_mx_record_target", "mail.test.")],
        ),
        (
            DnsRecord::Ns,
            Some(53),
            vec![("__address__", "ns1.test:53"), ("__meta_dns_ns_record_target", "ns1.test.")],
        ),
    ] {
        let mut run = Run::start(provider(&server, &["x.test."], record, port));
        run.next().await;
        let mut expected: std::collections::BTreeMap<_, _> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        expected.insert("__meta_dns_name".into(), "x.test.".into());
        assert_eq!(run.targets(), [expected], "{record:?}");
        run.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_over_tcp() {
    let server = DnsServer::start().await;
    let many: Vec<RData> = (1..=200).map(a).collect();
    server.set("many.test.", RecordType::A, Answer::Records(many));
    let mut run = Run::start(provider(&server, &["many.test."], DnsRecord::A, Some(1)));
    run.until("found", |run| run.addresses().len() == 200).await;
    assert!(server.asked_over_tcp() > 0);
    run.stop().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_and_is_found_again() {
    let server = DnsServer::start().await;
    let address = server.address;
    server.set("web.test.", RecordType::A, Answer::Code(ResponseCode::Refused));
    let mut run = Run::start(provider(&server, &["web.test."], DnsRecord::A, Some(1)));
    run.until("refused", |run| run.error.is_some()).await;
    assert_eq!((run.targets().len(), address), (0, server.address));
    server.set("web.test.", RecordType::A, Answer::Records(vec![a(1)]));
    run.until("found", |run| run.error.is_none() && run.addresses() == set(&["10.0.0.1:1"])).await;
    run.stop().await;
}
