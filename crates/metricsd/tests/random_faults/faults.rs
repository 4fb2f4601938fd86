//! What may happen to a cluster, chosen at random, with what it may cost.

use std::time::Duration;

use crate::chance::Chance;
use crate::fleet::{FAR, FRONTS, Fleet, NARROW, WORKERS, WRITERS};
use crate::proxy::Line;
use crate::pushes::Pusher;

/// The least number of workers that run.
const FEWEST: usize = 3;

/// A server that goes away and comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    Redis,
    Kafka,
}

/// One fault or one planned change. The number is the process's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9, and another start.
    Kill(usize),
    /// SIGTERM, and another start.
    Restart(usize),
    /// SIGSTOP for so long, and SIGCONT.
    Stop(usize, Duration),
    Add(usize),
    Remove(usize),
    /// kill -9 or a stop in good order.
    Away(Server, bool, Duration),
    Cut(Line, Duration),
    /// The server that takes the batches of pushes is away until the spool of a process has no room.
    Fill(Server),
}

impl Fault {
    /// Whether scrapes may be missed.
    pub(crate) fn costs(self) -> bool {
        match self {
            Self::Kill(place) | Self::Stop(place, _) => WORKERS.contains(&place),
            Self::Restart(_) | Self::Add(_) | Self::Remove(_) => false,
            Self::Away(server, ..) => server == Server::Postgres,
            Self::Cut(..) | Self::Fill(_) => true,
        }
    }

    /// What two faults of one round may not both concern.
    fn concerns(self) -> usize {
        match self {
            Self::Kill(place)
            | Self::Restart(place)
            | Self::Stop(place, _)
            | Self::Add(place)
            | Self::Remove(place) => place,
            Self::Cut(..) => FAR,
            Self::Away(Server::Postgres, ..) | Self::Fill(Server::Postgres) => 100,
            Self::Away(Server::Redis, ..) | Self::Fill(Server::Redis) => 101,
            Self::Away(Server::Kafka, ..) | Self::Fill(Server::Kafka) => 102,
        }
    }

    fn lasts(self) -> Duration {
        match self {
            Self::Stop(_, hold) | Self::Away(_, _, hold) | Self::Cut(_, hold) => hold,
            _ => Duration::ZERO,
        }
    }

    pub(crate) async fn begin(self, fleet: &mut Fleet) {
        let servers = &fleet.servers;
        match self {
            Self::Kill(place) => fleet.kill(place).await,
            Self::Restart(place) | Self::Remove(place) => fleet.terminate(place).await,
            Self::Stop(place, _) => fleet.stop(place, true).await,
            Self::Add(place) => fleet.start(place),
            Self::Away(server, true, _) | Self::Fill(server) => servers.kill(server).await,
            Self::Away(server, false, _) => servers.stop(server).await,
            Self::Cut(line, _) => fleet.proxy.set(line),
        }
    }

    /// Holds it for its time; fills the spool where that is the fault.
    pub(crate) async fn hold(self, bulk: &Pusher) {
        let Self::Fill(_) = self else {
            return tokio::time::sleep(self.lasts()).await;
        };
        bulk.rest(false);
        let refused = || bulk.counts.refused.load(std::sync::atomic::Ordering::Relaxed);
        let before = refused();
        for _ in 0..300 {
            if refused() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bulk.rest(true);
        assert!(refused() > before, "the spool of process {NARROW} was not filled");
    }

    pub(crate) async fn end(self, fleet: &mut Fleet) {
        match self {
            Self::Kill(place) | Self::Restart(place) => fleet.start(place),
            Self::Stop(place, _) => fleet.stop(place, false).await,
            Self::Add(_) | Self::Remove(_) => {}
            Self::Away(server, ..) | Self::Fill(server) => fleet.servers.bring_up(server).await,
            // Some connections are lost with what was under way, some go on.
            Self::Cut(Line::Silent, _) => {
                fleet.proxy.set(Line::Refused);
                tokio::time::sleep(Duration::from_millis(200)).await;
                fleet.proxy.set(Line::Open);
            }
            Self::Cut(..) => fleet.proxy.set(Line::Open),
        }
    }
}

/// Chooses a fault that can happen to the fleet as it is.
fn choose(chance: &mut Chance, fleet: &Fleet) -> Option<Fault> {
    let workers = fleet.running(&WORKERS);
    let others: Vec<usize> = FRONTS.into_iter().chain(WRITERS).collect();
    let all: Vec<usize> = workers.iter().copied().chain(others.iter().copied()).collect();
    let server = [Server::Postgres, Server::Redis, Server::Kafka][chance.below(3)];
    Some(match chance.below(15) {
        0 | 1 => Fault::Kill(chance.of(&workers)?),
        2 => Fault::Kill(chance.of(&others)?),
        3 => Fault::Restart(chance.of(&all)?),
        4 => Fault::Restart(chance.of(&workers)?),
        // Longer than a lease, or less.
        5 => Fault::Stop(chance.of(&workers)?, chance.millis(6_000, 9_000)),
        6 => Fault::Stop(chance.of(&all)?, chance.millis(1_000, 7_000)),
        7 | 8 => Fault::Add(chance.of(&fleet.free(&WORKERS))?),
        9 if workers.len() > FEWEST => Fault::Remove(chance.of(&workers)?),
        10 => Fault::Away(server, true, chance.millis(0, 8_000)),
        11 => Fault::Away(server, false, chance.millis(0, 4_000)),
        12 | 13 if workers.contains(&FAR) => {
            let slow = Line::Slow(chance.millis(20, 800));
            let line = chance.of(&[Line::Silent, Line::Refused, Line::HalfClosed, slow])?;
            Fault::Cut(line, chance.millis(500, 9_000))
        }
        14 if chance.once_in(2) => Fault::Fill(if fleet.log { Server::Kafka } else { Server::Postgres }),
        _ => return None,
    })
}

/// The faults of one round: one as a rule, several at once now and then.
pub(crate) fn round(chance: &mut Chance, fleet: &Fleet) -> Vec<Fault> {
    let wanted = if chance.once_in(3) { 2 + chance.below(2) } else { 1 };
    let mut faults: Vec<Fault> = Vec::new();
    while faults.len() < wanted {
        let Some(fault) = choose(chance, fleet) else { continue };
        let removed = faults.iter().filter(|fault| matches!(fault, Fault::Remove(_))).count();
        let is_last = matches!(fault, Fault::Remove(_)) && fleet.running(&WORKERS).len() - removed <= FEWEST;
        // A process whose spool is to be filled has to run.
        let of_narrow = |fault: &Fault| fault.concerns() == NARROW;
        let fills = |fault: &Fault| matches!(fault, Fault::Fill(_));
        let apart = |known: &Fault| {
            known.concerns() != fault.concerns()
                && !(fills(known) && of_narrow(&fault) || fills(&fault) && of_narrow(known))
        };
        if !is_last && faults.iter().all(apart) {
            faults.push(fault);
        }
    }
    faults
}
