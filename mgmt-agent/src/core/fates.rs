//! What a deployment does to each node, and how it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use broker_codec::data::ZeekString;
use mgmt_api::{Configuration, State, link, log::some_of};

use super::{
    agent::Agent,
    desired::{Fate, fate},
    node_spec,
    nodes::OwnNode,
    supervision::Processes,
};

/// What becomes of the nodes that run, when a configuration takes the place of another.
#[derive(Debug, Default)]
pub(super) struct Fates {
    /// Those that run on.
    kept: BTreeSet<ZeekString>,
    /// Those of them whose workers are others now: they are told of those that have come.
    told: Vec<ZeekString>,
    /// Those that end, and why they start again, if they do and that is known.
    ended: BTreeMap<ZeekString, Option<String>>,
    /// Those that start and did not run.
    started: BTreeSet<ZeekString>,
}

impl Fates {
    pub(super) fn keeps(&self, name: &ZeekString) -> bool {
        self.kept.contains(name)
    }

    pub(super) fn told(&self) -> &[ZeekString] {
        &self.told
    }

    /// The nodes whose processes end.
    pub(super) fn ended(&self) -> Vec<ZeekString> {
        self.ended.keys().cloned().collect()
    }

    /// These are the nodes of the configuration.
    pub(super) fn configured<'a>(&mut self, names: impl Iterator<Item = &'a ZeekString>) {
        self.started = names.filter(|name| !self.kept.contains(*name)).cloned().collect();
    }

    /// Those that end and start again, and why, if that is known.
    pub(super) fn restarted(&self) -> impl Iterator<Item = (&ZeekString, Option<&String>)> {
        let restarted = self.ended.iter().filter(|(name, _)| self.started.contains(*name));
        restarted.map(|(name, why)| (name, why.as_ref()))
    }

    /// Those that start and do not run.
    pub(super) fn missing(&self) -> impl Iterator<Item = &ZeekString> {
        self.started.iter().filter(|name| !self.ended.contains_key(*name))
    }

    /// Those that end for good.
    fn gone(&self) -> impl Iterator<Item = &ZeekString> {
        self.ended.keys().filter(|name| !self.started.contains(*name))
    }

    /// What becomes of each node, where these stay stopped.
    pub(super) fn of_each(
        &self,
        stopped: &BTreeSet<ZeekString>,
    ) -> BTreeMap<&ZeekString, (link::Fate, Option<&String>)> {
        let ended = self.ended.keys().map(|name| (name, (link::Fate::Ended, None)));
        let kept = self.kept.iter().map(|name| (name, (link::Fate::Kept, None)));
        let told = self.told.iter().map(|name| (name, (link::Fate::Told, None)));
        let started = self.started.iter().map(|name| {
            let fate = match self.ended.get(name) {
                _ if stopped.contains(name) => (link::Fate::Stopped, None),
                Some(why) => (link::Fate::Restarted, why.as_ref()),
                None => (link::Fate::Started, None),
            };
            (name, fate)
        });
        ended.chain(kept).chain(told).chain(started).collect()
    }

    /// What is done about nodes that an earlier agent has left, and about those that do not run in these words, with `@` for their names.
    pub(super) fn in_words(&self, starting: &str) -> String {
        let mut parts = Vec::new();
        if !self.kept.is_empty() {
            parts.push(format!(
                "{} of its nodes have run on ({})",
                self.kept.len(),
                some_of(&self.kept)
            ));
        }
        let restarted: Vec<ZeekString> = self.restarted().map(restarted).collect();
        if !restarted.is_empty() {
            parts.push(format!("restarts {}", some_of(&restarted)));
        }
        let gone: Vec<&ZeekString> = self.gone().collect();
        if !gone.is_empty() {
            parts.push(format!("ends {}", some_of(gone)));
        }
        let missing: Vec<&ZeekString> = self.missing().collect();
        if !missing.is_empty() {
            parts.push(starting.replace('@', &some_of(missing)));
        }
        parts.join("; ")
    }
}

/// A node that ends and starts again, with the reason.
fn restarted((name, why): (&ZeekString, Option<&String>)) -> ZeekString {
    why.map_or_else(|| name.clone(), |why| format!("{name} ({why})").into())
}

impl Agent {
    /// What becomes of the Supervisor's processes, where these nodes stay stopped. Of those that it cannot tell how they were started none is kept.
    pub(super) fn fates(
        &self,
        status: &Processes,
        config: Option<&Configuration>,
        stopped: &BTreeSet<ZeekString>,
    ) -> Fates {
        let mut fates = Fates::default();
        let cluster = config
            .map(node_spec::cluster)
            .and_then(Result::ok)
            .unwrap_or_default();
        let cluster = Arc::new(cluster);
        for (name, supervised) in status {
            if supervised.management.is_some() {
                continue;
            }
            let wanted = config.and_then(|config| self.wanted_spec(config, &cluster, name, stopped));
            let has_failed = self
                .nodes
                .get(name)
                .is_some_and(|own| own.node.state == State::Failed);
            let why = match supervised.spec.as_deref().zip(wanted.as_ref()) {
                None => None,
                Some(_) if has_failed => Some("it had failed".to_owned()),
                Some((running, wanted)) => match fate(running, wanted) {
                    Fate::Kept => {
                        fates.kept.insert(name.clone());
                        continue;
                    }
                    Fate::Told => {
                        fates.kept.insert(name.clone());
                        fates.told.push(name.clone());
                        continue;
                    }
                    Fate::Restarted(why) => Some(why),
                },
            };
            fates.ended.insert(name.clone(), why);
        }
        fates
    }

    /// Takes the nodes out that run on.
    pub(super) fn take_kept(&mut self, fates: &Fates) -> BTreeMap<ZeekString, OwnNode> {
        let (kept, others) = std::mem::take(&mut self.nodes)
            .into_iter()
            .partition(|(name, own)| {
                // The end of one that is stopped is still to be told.
                fates.keeps(name) || (self.stopped.contains(name) && own.pid.is_some())
            });
        self.nodes = others;
        kept
    }

    /// What is about to be done for a configuration, with the nodes that are none of it.
    pub(super) fn intention(&self, config: &ZeekString, fates: &Fates) -> String {
        let is_restarted = |name: &&ZeekString| matches!(fates.ended.get(*name), Some(Some(_)));
        let started: Vec<&ZeekString> = fates.started.iter().filter(|name| !is_restarted(name)).collect();
        let started: Vec<&ZeekString> = started
            .into_iter()
            .filter(|name| !self.stopped.contains(*name))
            .collect();
        let mut parts = Vec::new();
        match started.len() {
            0 if self.nodes.is_empty() => parts.push("has no node here".to_owned()),
            0 => {}
            1 => parts.push(format!("starts {}", some_of(started))),
            count => parts.push(format!("starts {count} nodes ({})", some_of(started))),
        }
        let has_reason = |(_, why): &(&ZeekString, Option<&String>)| why.is_some();
        let restarted: Vec<ZeekString> = fates.restarted().filter(has_reason).map(restarted).collect();
        if !restarted.is_empty() {
            parts.push(format!("restarts {}", some_of(&restarted)));
        }
        if !fates.kept.is_empty() {
            parts.push(format!("keeps {}", some_of(&fates.kept)));
        }
        let gone: Vec<&ZeekString> = fates.gone().collect();
        if !gone.is_empty() {
            parts.push(format!("ends {}", some_of(gone)));
        }
        let stopped: Vec<&ZeekString> = self.stopped.iter().collect();
        if !stopped.is_empty() {
            parts.push(format!("leaves stopped {}", some_of(stopped)));
        }
        format!("configuration {config}: {}", parts.join(", "))
    }
}
