//! The controller: what its [clusters](super::clusters) have in common, in one machine.

use broker_codec::{
    EndpointId,
    data::{Address, Port, ZeekString},
};
use counters::Counters;
use mgmt_api::{Configuration, ControllerId, IdSource, Now, RequestKind, WallClock, operator::Vitals};

use super::{
    action::Action,
    cluster_name::ClusterName,
    clusters::Clusters,
    configurations::{Configurations, Slot},
    input::Input,
    pending::Key,
    settings::Settings,
    turn::{Common, Turn},
};
use crate::Counted;

pub struct Controller {
    clusters: Clusters,
    common: Common,
    ids: Box<dyn IdSource>,
    counters: Counters<Counted>,
    now: Now,
    /// The time of day at [`Now::START`].
    epoch: WallClock,
}

impl Controller {
    /// A controller with the configurations of `default` that were restored from its store.
    pub fn new(settings: Settings, restored: Configurations, ids: Box<dyn IdSource>) -> Self {
        Self {
            clusters: Clusters::new(settings, restored),
            common: Common::default(),
            ids,
            counters: Counters::default(),
            now: Now::START,
            epoch: WallClock::default(),
        }
    }

    /// That is known to agents by this id; without one, as a controller of Zeek's.
    #[must_use]
    pub fn with_id(mut self, id: Option<ControllerId>) -> Self {
        self.common.id = id;
        self
    }

    /// With those of other clusters.
    #[must_use]
    pub fn with_clusters(
        mut self,
        restored: impl IntoIterator<Item = (ClusterName, Configurations)>,
    ) -> Self {
        for (name, configurations) in restored {
            self.clusters.restore(name, configurations);
        }
        self
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
        if let Input::Host(state) = &input {
            self.epoch = state.wall_clock - self.now.since_start();
            self.common.warnings.clone_from(&state.warnings);
        }
        let examined = match input {
            Input::Vitals { id } => Some(id),
            _ => None,
        };
        let common = &mut self.common;
        let mut turn = Turn::new(self.now, &mut *self.ids, &self.counters, self.epoch, common);
        self.clusters.step(&mut turn, input);
        if let Some(id) = examined {
            let mut vitals = Box::<Vitals>::default();
            for (_, cluster) in self.clusters.iter() {
                cluster.examine(&turn, &mut vitals);
            }
            turn.push(Action::Vitals { id, vitals });
        }
        turn.into_actions()
    }

    /// When [`Input::Tick`] is due. Later than the `now` of the last call.
    pub fn deadline(&self) -> Option<Now> {
        self.clusters.deadline()
    }

    /// Whether a client's request is still to be answered.
    pub fn owes_answer(&self, kind: RequestKind, reqid: &ZeekString) -> bool {
        let key = Key::Client(kind, reqid.clone());
        self.clusters.default_cluster().requests.contains(&key)
    }

    /// The instance that is to be reached at this place, by its name.
    pub fn instance_at(&self, host: Address, port: Port) -> Option<&ZeekString> {
        let target = (host, port);
        let clusters = self.common.dials.wanted_by(target);
        self.clusters.at(clusters, target).next()
    }

    /// The instance that a peer speaks for, by its name, and whether it belongs to the deployed configuration: of the end of such a
    /// one there is an [`Action::Report`].
    pub fn instance_of(&self, peer: EndpointId) -> Option<(&ZeekString, bool)> {
        let cluster = self.clusters.get(&self.clusters.home_of(peer))?;
        let name = cluster.members.peers.name_of(peer)?;
        Some((name, cluster.members.instances.wanted.contains_key(name)))
    }

    /// The id of a configuration of a cluster, if there are both.
    pub fn configuration_id(&self, cluster: &str, slot: Slot) -> Option<&ZeekString> {
        let cluster = self.clusters.get(&cluster.try_into().ok()?)?;
        cluster.configurations.get(slot).map(|config| &config.id)
    }

    /// What is deployed in `default`.
    pub fn deployed_configuration(&self) -> Option<&Configuration> {
        let default = self.clusters.default_cluster();
        default.configurations.deployed.as_deref()
    }

    /// Others count here, too.
    pub fn counters(&self) -> Counters<Counted> {
        self.counters.clone()
    }
}
