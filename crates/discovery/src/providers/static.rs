//! `static_configs`: targets that are written down.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::config::StaticGroup;
use crate::groups::target_at;
use crate::provider::{Provider, TargetGroup, Update, Updates};

/// Tells its groups once.
#[derive(Debug)]
pub struct StaticProvider {
    groups: Vec<TargetGroup>,
}

impl StaticProvider {
    /// The groups get their place in the list as their source.
    pub fn new(groups: &[StaticGroup]) -> Self {
        let group = |(place, group): (usize, &StaticGroup)| TargetGroup {
            source: place.to_string(),
            labels: group.labels.clone(),
            targets: group.targets.iter().cloned().map(target_at).collect(),
        };
        Self { groups: groups.iter().enumerate().map(group).collect() }
    }
}

#[async_trait]
impl Provider for StaticProvider {
    fn kind(&self) -> &'static str {
        "static"
    }

    async fn run(&self, updates: Updates, stop: CancellationToken) {
        tokio::select! {
            _ = updates.send(Update::All(self.groups.clone())) => stop.cancelled().await,
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::ADDRESS_LABEL;

    #[tokio::test]
    async fn groups_are_told_once() {
        let provider = StaticProvider::new(&[
            StaticGroup {
                targets: vec!["a:1".into(), "b:2".into()],
                labels: [("env".into(), "x".into())].into(),
            },
            StaticGroup::default(),
        ]);
        let (updates, mut told) = tokio::sync::mpsc::channel(4);
        let stop = CancellationToken::new();
        let run = provider.run(updates, stop.clone());
        let listen = async {
            let Some(Update::All(groups)) = told.recv().await else { panic!("no groups") };
            stop.cancel();
            assert_eq!(told.recv().await, None);
            groups
        };
        let ((), groups) = tokio::join!(run, listen);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].targets[1][ADDRESS_LABEL], "b:2");
        assert_eq!((groups[0].labels["env"].as_str(), groups[1].source.as_str()), ("x", "1"));
    }
}
