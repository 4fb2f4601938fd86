//! `GET /api/v1/metrics/cluster`: the processes there are, what they do, and which worker owns what.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use metricsd_model::event::rfc3339;
use metricsd_ports::Process;
use metricsd_ports::membership::{Lease, Snapshot};
use serde::Serialize;
use uuid::Uuid;

use crate::Problem;
use crate::api::AppState;
use crate::params::Params;

#[derive(Serialize)]
pub(crate) struct Cluster {
    /// The database's time.
    time: String,
    processes: Vec<Shown>,
    ring: Ring,
}

#[derive(Serialize)]
struct Ring {
    epoch: u64,
    buckets: usize,
    /// Buckets that nobody owns.
    unowned: usize,
    /// Buckets that are being handed over.
    moving: usize,
}

#[derive(Serialize)]
struct Shown {
    id: Uuid,
    roles: Vec<String>,
    listen: String,
    version: String,
    worker: Option<Worker>,
}

#[derive(Serialize)]
struct Worker {
    member: Uuid,
    /// `active`, `joining`, `draining` or `expired`.
    state: &'static str,
    lease_expires: String,
    lease_seconds_left: f64,
    owned_buckets: usize,
    targets: u64,
    samples_per_second: u64,
    capacity_samples_per_second: u64,
    utilisation: f64,
    known_epoch: u64,
}

/// The handler.
pub(crate) async fn cluster(
    State(shared): AppState,
    RawQuery(query): RawQuery,
) -> Result<Json<Cluster>, Problem> {
    Params::new(query.as_deref()).finish()?;
    let (processes, snapshot) =
        tokio::try_join!(shared.api.catalog.processes(), shared.api.membership.snapshot())?;
    Ok(Json(shown(processes, &snapshot)))
}

fn shown(processes: Vec<Process>, snapshot: &Snapshot) -> Cluster {
    let mut owned: BTreeMap<Uuid, usize> = BTreeMap::new();
    let grants = || snapshot.table.grants().iter().flatten();
    grants().for_each(|grant| *owned.entry(grant.owner).or_default() += 1);
    let mut workers: BTreeMap<Uuid, Worker> = snapshot
        .leases
        .iter()
        .map(|lease| (lease.report.process, worker(lease, snapshot.now, &owned)))
        .collect();
    let mut all: Vec<Shown> = processes
        .into_iter()
        .map(|process| Shown {
            worker: workers.remove(&process.id),
            id: process.id,
            roles: process.roles,
            listen: process.listen,
            version: process.version,
        })
        .collect();
    // A worker that was lost is shown until others have taken its targets.
    all.extend(workers.into_iter().map(|(id, worker)| Shown {
        id,
        roles: vec!["worker".to_owned()],
        listen: String::new(),
        version: String::new(),
        worker: Some(worker),
    }));
    Cluster {
        time: rfc3339(snapshot.now),
        processes: all,
        ring: Ring {
            epoch: snapshot.table.epoch(),
            buckets: snapshot.table.grants().len(),
            unowned: snapshot.table.grants().len() - grants().count(),
            moving: grants().filter(|grant| grant.previous.is_some() && grant.since > snapshot.now).count(),
        },
    }
}

fn worker(lease: &Lease, now: i64, owned: &BTreeMap<Uuid, usize>) -> Worker {
    let report = &lease.report;
    Worker {
        member: report.member,
        state: match lease {
            lease if lease.expires <= now => "expired",
            lease if lease.report.draining => "draining",
            lease if !lease.placed => "joining",
            _ => "active",
        },
        lease_expires: rfc3339(lease.expires),
        lease_seconds_left: (lease.expires - now).max(0) as f64 / 1e3,
        owned_buckets: owned.get(&report.member).copied().unwrap_or(0),
        targets: report.targets,
        samples_per_second: report.samples_per_second,
        capacity_samples_per_second: report.capacity,
        utilisation: report.samples_per_second as f64 / report.capacity.max(1) as f64,
        known_epoch: lease.known,
    }
}

#[cfg(test)]
mod tests {
    use metricsd_ports::membership::{Grant, Report, Table};

    use super::*;

    #[test]
    fn workers_stand_beside_their_processes_and_lost_ones_at_the_end() {
        let [a, b] = [1, 2].map(Uuid::from_u128);
        let lease = |member: Uuid, expires: i64| Lease {
            report: Report {
                member,
                process: Uuid::from_u128(member.as_u128() + 10),
                weight: 1,
                draining: false,
                targets: 3,
                samples_per_second: 50,
                capacity: 200,
            },
            renewed: 0,
            expires,
            placed: true,
            known: 1,
        };
        let mut table = Table::new(4);
        let grant = Grant { owner: a, epoch: 1, since: 0, previous: None, began: 0, gap: None };
        let moving = Grant { owner: b, since: 2_000, previous: Some(a), ..grant };
        table.apply(1, &[(0, grant), (1, grant), (2, moving)]);
        let snapshot = Snapshot { now: 1_000, table, leases: vec![lease(a, 3_500), lease(b, 900)] };
        let process = Process {
            id: Uuid::from_u128(11),
            roles: vec!["worker".into()],
            listen: "1.2.3.4:9099".into(),
            version: "1".into(),
        };
        let shown = serde_json::to_value(shown(vec![process], &snapshot)).unwrap();
        assert_eq!(shown["ring"], serde_json::json!({"epoch": 1, "buckets": 4, "unowned": 1, "moving": 1}));
        let [one, two] = [&shown["processes"][0]["worker"], &shown["processes"][1]["worker"]];
        assert_eq!(
            (&one["state"], &one["owned_buckets"], &one["utilisation"]),
            (&"active".into(), &2.into(), &0.25.into())
        );
        assert_eq!(one["lease_seconds_left"], 2.5);
        assert_eq!((&two["state"], &two["owned_buckets"]), (&"expired".into(), &1.into()));
    }
}
