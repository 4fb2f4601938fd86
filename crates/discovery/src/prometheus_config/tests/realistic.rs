//! A file as teams have it.

use super::*;
use crate::TargetGroup;
use crate::config::ProviderConfig;
use crate::manager::FoundGroup;

const TEXT: &str = include_str!("realistic.yml");

#[test]
fn a_realistic_file_is_taken_whole() {
    let config = read(TEXT);
    let jobs: Vec<_> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(
        jobs,
        [
            "prometheus",
            "node",
            "blackbox-http",
            "kubernetes-apiservers",
            "kubernetes-nodes-cadvisor",
            "kubernetes-pods",
            "consul",
            "federate",
            "pushgateway",
            "databases",
            "mail",
            "inventory",
        ]
    );
    assert_eq!(
        config.unsupported.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(),
        ["rule_files", "alerting", "remote_write", "scrape_configs[9].ec2_sd_configs"]
    );
    let blackbox = &config.jobs[2];
    assert_eq!(blackbox.scrape.options.params["module"], ["http_2xx"]);
    assert_eq!(blackbox.relabel_configs.len(), 3);
    let kinds = |at: usize| config.jobs[at].providers.len();
    assert_eq!((kinds(1), kinds(9)), (3, 1));
    assert!(matches!(config.jobs[5].providers[0], ProviderConfig::Kubernetes(_)));
    assert_eq!(config.jobs[7].scrape.options.params["match[]"].len(), 2);
    assert!(config.jobs[7].scrape.honor_labels);
    // The anchor's fields, and what the job says itself.
    assert!(config.jobs[4].scrape.options.http.tls.ca.is_some());
    assert_eq!(config.jobs[4].scrape.scrape_interval.to_string(), "30s");
}

#[test]
fn every_job_of_it_resolves() {
    for job in &read(TEXT).jobs {
        let groups: Vec<_> = job
            .providers
            .iter()
            .filter_map(|provider| match provider {
                ProviderConfig::Static(groups) => Some(groups),
                _ => None,
            })
            .flatten()
            .map(|group| {
                let target = |target: &String| crate::groups::target_at(target.clone());
                let targets = group.targets.iter().map(target).collect();
                let labels = group.labels.clone();
                FoundGroup::new("static", TargetGroup { source: String::new(), labels, targets })
            })
            .collect();
        let targets = crate::resolve_job(job, &groups).unwrap();
        assert_eq!(targets.errors, [], "{}", job.name);
        assert_eq!(
            targets.active.len(),
            groups.iter().map(|group| group.targets.len()).sum::<usize>(),
            "{}",
            job.name
        );
    }
}
