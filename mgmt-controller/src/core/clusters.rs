//! The clusters that there are, and which of them an input is for. What happens in one does not concern the others.

use std::collections::BTreeMap;

use broker_codec::{
    EndpointId,
    data::{Excerpt, ZeekString},
};
use mgmt_api::{
    AgentMessage, Now, Principal,
    operator::{ClusterRequest, Clusters as Told, NotDone, NotDoneKind, written},
};

use super::{
    access,
    action::Action,
    cluster::Cluster,
    cluster_name::ClusterName,
    configurations::Configurations,
    input::Input,
    operators::answer,
    peers::Target,
    settings::Settings,
    turn::{Follow, Turn},
};

/// How many clusters there may be besides `default`.
pub const CLUSTERS_MAX: usize = 256;

pub(super) struct Clusters {
    settings: Settings,
    /// What Zeek's API, its clients and its store see. It has all peers that no other cluster has.
    default: Cluster,
    others: BTreeMap<ClusterName, Cluster>,
    /// The peers that other clusters have.
    homes: BTreeMap<EndpointId, ClusterName>,
}

impl Clusters {
    pub(super) fn new(settings: Settings, restored: Configurations) -> Self {
        let name = ClusterName::default_cluster();
        Self {
            default: Cluster::new(name, settings.clone(), restored),
            settings,
            others: BTreeMap::new(),
            homes: BTreeMap::new(),
        }
    }

    /// At start: a cluster besides `default` that was stored.
    pub(super) fn restore(&mut self, name: ClusterName, restored: Configurations) {
        if !name.is_default() {
            let cluster = Cluster::new(name.clone(), self.settings.clone(), restored);
            self.others.insert(name, cluster);
        }
    }

    pub(super) const fn default_cluster(&self) -> &Cluster {
        &self.default
    }

    pub(super) fn get(&self, name: &ClusterName) -> Option<&Cluster> {
        if name.is_default() {
            return Some(&self.default);
        }
        self.others.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &ClusterName) -> Option<&mut Cluster> {
        if name.is_default() {
            return Some(&mut self.default);
        }
        self.others.get_mut(name)
    }

    /// `default` comes first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ClusterName, &Cluster)> {
        let default = (self.default.name(), &self.default);
        std::iter::once(default).chain(&self.others)
    }

    fn names(&self) -> Vec<ClusterName> {
        self.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The cluster that has a peer.
    pub(super) fn home_of(&self, peer: EndpointId) -> ClusterName {
        let home = self.homes.get(&peer).cloned();
        home.unwrap_or_else(ClusterName::default_cluster)
    }

    /// A cluster has a peer from now on.
    pub(super) fn is_at_home(&mut self, peer: EndpointId, home: &ClusterName) {
        match home.besides_default() {
            Some(home) => self.homes.insert(peer, home),
            None => self.homes.remove(&peer),
        };
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.iter().filter_map(|(_, cluster)| cluster.deadline()).min()
    }

    pub(super) fn step(&mut self, turn: &mut Turn<'_>, input: Input) {
        self.expire(turn);
        match input {
            Input::Started { .. } => self.started(turn, &input),
            Input::Stopping => {
                for name in self.names() {
                    self.act(turn, &name, Cluster::stopping);
                }
            }
            Input::Operator {
                id,
                principal,
                cluster,
                request,
            } => self.operate(turn, id, &principal, &cluster, request),
            Input::Clusters { id, principal } => {
                let summaries = self.iter().map(|(_, cluster)| cluster.summary());
                let clusters = summaries
                    .filter(|summary| access::may_read(&principal, &summary.cluster))
                    .collect();
                answer(turn, id, written(&Told { clusters }));
            }
            Input::Persisted { write, outcome } => {
                let of = turn.common.writes.end(write);
                let of = of.unwrap_or_else(ClusterName::default_cluster);
                self.act(turn, &of, |cluster, turn| cluster.persisted(turn, write, outcome));
            }
            Input::Recalled { recall, outcome } => {
                if let Some(of) = turn.common.recalls.end(recall) {
                    self.act(turn, &of, |cluster, turn| cluster.recalled(turn, recall, outcome));
                    self.remove_if_void(turn, &of);
                }
            }
            Input::PeerAdded { peer, .. } => {
                if let Some(home) = self.homes.remove(&peer) {
                    let reason = "it connected again".to_owned();
                    let lost = Input::PeerLost { peer, reason };
                    self.act(turn, &home, |cluster, turn| cluster.step(turn, lost));
                }
                self.of_default(turn, input);
            }
            Input::PeerLost { peer, .. } => {
                let home = self.homes.remove(&peer);
                let home = home.unwrap_or_else(ClusterName::default_cluster);
                self.act(turn, &home, |cluster, turn| cluster.step(turn, input));
            }
            Input::Agent {
                peer, ref message, ..
            } => {
                if let AgentMessage::Hello { instance, .. } = message
                    && self.may_be_agent(peer, instance)
                {
                    self.bring_home(turn, peer, instance);
                }
                self.of_peer(turn, peer, input);
            }
            Input::Link { peer, .. } => self.of_peer(turn, peer, input),
            Input::Request { .. }
            | Input::SetConfiguration { .. }
            | Input::Vitals { .. }
            | Input::Host(_)
            | Input::Tick => {
                self.of_default(turn, input);
            }
        }
        while let Some(follow) = turn.follows.pop_front() {
            let of = match &follow {
                Follow::Deploy { cluster, .. } => cluster.clone(),
                Follow::Agent { peer, .. } => self.home_of(*peer),
            };
            self.act(turn, &of, |cluster, turn| cluster.follow(turn, follow));
        }
    }

    fn may_be_agent(&self, peer: EndpointId, instance: &ZeekString) -> bool {
        let home = self.get(&self.home_of(peer));
        home.is_some_and(|cluster| cluster.members.peers.may_be_agent(peer, instance))
    }

    fn of_default(&mut self, turn: &mut Turn<'_>, input: Input) {
        let default = ClusterName::default_cluster();
        self.act(turn, &default, |cluster, turn| cluster.step(turn, input));
    }

    fn of_peer(&mut self, turn: &mut Turn<'_>, peer: EndpointId, input: Input) {
        let home = self.home_of(peer);
        self.act(turn, &home, |cluster, turn| cluster.step(turn, input));
    }

    /// Has a cluster do something. What it has then is its own.
    fn act(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ClusterName,
        does: impl FnOnce(&mut Cluster, &mut Turn<'_>),
    ) {
        let Some(cluster) = self.get_mut(name) else {
            return;
        };
        turn.speaking_of(name, |turn| does(cluster, turn));
        if std::mem::take(&mut turn.claims_have_changed) {
            self.settle(turn, name);
        }
    }

    /// What is due in each cluster happens before anything else does.
    fn expire(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let is_due = |cluster: &Cluster| cluster.deadline().is_some_and(|at| at <= now);
        let due = self.iter().filter(|(_, cluster)| is_due(cluster));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.act(turn, &name, Cluster::expire);
        }
    }

    /// Every instance is where it belongs before anything is deployed.
    fn started(&mut self, turn: &mut Turn<'_>, input: &Input) {
        let names = self.names();
        for name in &names {
            self.settle(turn, name);
        }
        self.settle_dropped(turn);
        self.warn_of_conflicts(turn);
        for name in &names {
            self.act(turn, name, |cluster, turn| cluster.step(turn, input.clone()));
        }
    }

    fn operate(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        cluster: &str,
        request: ClusterRequest,
    ) {
        let addressed =
            access::check(principal, cluster, &request).and_then(|()| self.addressed(cluster, &request));
        match addressed {
            Ok(name) => {
                self.act(turn, &name, |cluster, turn| {
                    cluster.operate(turn, id, principal, request);
                });
                self.remove_if_void(turn, &name);
            }
            Err(refusal) => answer(turn, id, Err(refusal)),
        }
    }

    /// The cluster that is meant. One comes into being when a configuration is staged in it.
    fn addressed(&mut self, cluster: &str, request: &ClusterRequest) -> Result<ClusterName, NotDone> {
        let name = ClusterName::try_from(cluster);
        if let Ok(name) = &name
            && self.get(name).is_some()
        {
            return Ok(name.clone());
        }
        if !matches!(request, ClusterRequest::Stage { .. }) {
            let reason = format!("there is no cluster {}", Excerpt::new(cluster.as_bytes()));
            return Err(NotDone::new(NotDoneKind::Unknown, reason));
        }
        let name = name.map_err(|error| NotDone::new(NotDoneKind::Invalid, error.to_string()))?;
        if self.others.len() >= CLUSTERS_MAX {
            let reason = format!("there are {CLUSTERS_MAX} clusters already: delete one that is not used");
            return Err(NotDone::new(NotDoneKind::Conflict, reason));
        }
        self.restore(name.clone(), Configurations::default());
        Ok(name)
    }

    /// A cluster that has nothing, stored or under way, is none; what it has dropped becomes `default`'s.
    pub(super) fn remove_if_void(&mut self, turn: &mut Turn<'_>, name: &ClusterName) {
        if self.others.get(name).is_none_or(|cluster| !cluster.is_void()) {
            return;
        }
        self.release_all(turn, name);
        let default = ClusterName::default_cluster();
        if let Some(cluster) = self.others.get_mut(name) {
            let party = cluster.members.peers.part_with_all();
            self.move_party(turn, party, name, &default);
        }
        self.others.remove(name);
        for (host, port) in turn.common.dials.forget(name) {
            turn.push(Action::Disconnect { host, port });
        }
    }

    /// The clusters that have an instance to be reached at a place.
    pub(super) fn at<'a>(
        &'a self,
        clusters: impl Iterator<Item = &'a ClusterName>,
        target: Target,
    ) -> impl Iterator<Item = &'a ZeekString> {
        let clusters = clusters.filter_map(|name| self.get(name));
        clusters.filter_map(move |cluster| cluster.members.instances.name_at(target))
    }
}
