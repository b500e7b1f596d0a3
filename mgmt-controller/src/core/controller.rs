//! The controller: named clusters.

use std::collections::BTreeMap;

use broker_codec::{
    EndpointId,
    data::{Address, Excerpt, Port, ZeekString},
};
use counters::Counters;
use mgmt_api::{
    Configuration, IdSource, Now, RequestKind, WallClock,
    operator::{NotDone, NotDoneKind, Vitals},
};

use super::{
    action::Action, cluster::Cluster, configurations::Configurations, input::Input, pending::Key,
    settings::Settings, turn::Turn,
};
use crate::Counted;

/// The cluster that Zeek's API, its clients and its store see. There is no other yet.
const DEFAULT: &str = "default";

pub struct Controller {
    clusters: BTreeMap<ZeekString, Cluster>,
    ids: Box<dyn IdSource>,
    counters: Counters<Counted>,
    now: Now,
    /// The time of day at [`Now::START`].
    epoch: WallClock,
}

impl Controller {
    /// A controller with the configurations that were restored from its store.
    pub fn new(settings: Settings, restored: Configurations, ids: Box<dyn IdSource>) -> Self {
        Self {
            clusters: BTreeMap::from([(DEFAULT.into(), Cluster::new(DEFAULT, settings, restored))]),
            ids,
            counters: Counters::default(),
            now: Now::START,
            epoch: WallClock::default(),
        }
    }

    /// Takes one input in and returns everything that has to happen because of it, in this order.
    ///
    /// Requests whose time is up at `now` time out first, before any input. A `now` before that of an earlier call
    /// counts as that one.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        self.now = self.now.max(now);
        if let Input::Started { wall_clock, .. } = &input {
            self.epoch = *wall_clock - self.now.since_start();
        }
        let examined = match input {
            Input::Vitals { id } => Some(id),
            _ => None,
        };
        let mut turn = Turn::new(self.now, &mut *self.ids, &self.counters, self.epoch);
        if let Input::Operator { id, cluster, .. } = &input
            && !self.clusters.contains_key(cluster.as_bytes())
        {
            let reason = format!("there is no cluster {}", Excerpt::new(cluster.as_bytes()));
            let refusal = NotDone::new(NotDoneKind::Unknown, reason);
            let (id, outcome) = (*id, Err(refusal));
            turn.push(Action::Answer { id, outcome });
        } else if let Some(cluster) = self.clusters.get_mut(DEFAULT.as_bytes()) {
            cluster.step(&mut turn, input);
        }
        if let Some(id) = examined {
            let mut vitals = Box::<Vitals>::default();
            for cluster in self.clusters.values() {
                cluster.examine(&turn, &mut vitals);
            }
            turn.push(Action::Vitals { id, vitals });
        }
        turn.into_actions()
    }

    /// When [`Input::Tick`] is due. Later than the `now` of the last call.
    pub fn deadline(&self) -> Option<Now> {
        self.clusters.values().filter_map(Cluster::deadline).min()
    }

    /// Whether a client's request is still to be answered.
    pub fn owes_answer(&self, kind: RequestKind, reqid: &ZeekString) -> bool {
        let key = Key::Client(kind, reqid.clone());
        self.clusters
            .values()
            .any(|cluster| cluster.requests.contains(&key))
    }

    /// The instance that is to be reached at this place, by its name.
    pub fn instance_at(&self, host: Address, port: Port) -> Option<&ZeekString> {
        let mut clusters = self.clusters.values();
        clusters.find_map(|cluster| cluster.members.instances.name_at((host, port)))
    }

    /// The instance that a peer speaks for, by its name, and whether it belongs to the deployed configuration: of the end of such a
    /// one there is an [`Action::Report`].
    pub fn instance_of(&self, peer: EndpointId) -> Option<(&ZeekString, bool)> {
        self.clusters.values().find_map(|cluster| {
            let name = cluster.members.peers.name_of(peer)?;
            Some((name, cluster.members.instances.wanted.contains_key(name)))
        })
    }

    pub fn deployed_configuration(&self) -> Option<&Configuration> {
        let cluster = self.clusters.get(DEFAULT.as_bytes())?;
        cluster.configurations.deployed.as_ref()
    }

    /// Others count here, too.
    pub fn counters(&self) -> Counters<Counted> {
        self.counters.clone()
    }
}
