//! What agents have told of the nodes of the deployed configuration.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;
use mgmt_api::{Configuration, State};

/// By instance and node. Only what the deployed configuration has is kept.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<(ZeekString, ZeekString), Node>);

/// What was told of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// None since the connection to its agent was lost.
    pub(super) state: Option<State>,
    /// How often it was told to be up, and to have ended by itself.
    pub(super) starts: u64,
    pub(super) crashes: u64,
}

impl Heard {
    pub(super) fn of(&self, instance: &ZeekString, node: &ZeekString) -> Node {
        let key = (instance.clone(), node.clone());
        self.0.get(&key).cloned().unwrap_or_default()
    }

    /// The agent of an instance tells that a node's state has changed.
    pub(super) fn changed(
        &mut self,
        of: &Configuration,
        instance: &ZeekString,
        node: &ZeekString,
        new: State,
    ) {
        if let Some(known) = self.known(of, instance, node) {
            known.state = Some(new);
            match new {
                State::Running => known.starts += 1,
                State::Crashed | State::Failed => known.crashes += 1,
                _ => {}
            }
        }
    }

    /// The agent of an instance tells how a node is.
    pub(super) fn told(
        &mut self,
        of: &Configuration,
        instance: &ZeekString,
        node: &ZeekString,
        state: State,
    ) {
        if let Some(known) = self.known(of, instance, node) {
            known.state = Some(state);
        }
    }

    fn known(&mut self, of: &Configuration, instance: &ZeekString, node: &ZeekString) -> Option<&mut Node> {
        let has = |known: &mgmt_api::Node| known.name == *node && known.instance == *instance;
        let is_deployed = of.nodes.iter().any(has);
        is_deployed.then(|| self.0.entry((instance.clone(), node.clone())).or_default())
    }

    /// The connection to the agent of an instance is lost.
    pub(super) fn lost(&mut self, instance: &ZeekString) {
        for ((of, _), node) in &mut self.0 {
            if of == instance {
                node.state = None;
            }
        }
    }

    /// This is the deployed configuration from now on.
    pub(super) fn retain(&mut self, of: &Configuration) {
        let nodes = of.nodes.iter();
        let nodes: BTreeSet<_> = nodes.map(|node| (&node.instance, &node.name)).collect();
        self.0
            .retain(|(instance, name), _| nodes.contains(&(instance, name)));
    }
}
