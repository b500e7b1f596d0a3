use broker_codec::data::{ZeekString, to_data};
use mgmt_api::{NodeStatus, ResultRecord, Role, State};

use super::{
    action::Turn,
    agent::{Agent, Purpose},
    pending::{Kind, Logged, Pending},
    supervision::{Processes, Supervised},
};

impl Agent {
    /// The state of every process on this instance.
    pub(super) fn get_nodes(&mut self, turn: &mut Turn, reqid: ZeekString) {
        if let Some(reason) = self.unavailable.clone() {
            self.respond_without_status(turn, reqid, &reason);
            return;
        }
        let timeout = self.settings.request_timeout;
        self.await_answer(turn, Kind::GetNodes, reqid.clone(), timeout, Pending::Status);
        self.ask_status(turn, Purpose::GetNodes(reqid));
    }

    /// The Supervisor says which processes there are.
    pub(super) fn got_status(&mut self, turn: &mut Turn, reqid: ZeekString, status: &Processes) {
        for (name, supervised) in status {
            self.node_found(turn, name, supervised);
        }
        if self.end(Kind::GetNodes, &reqid) {
            let result = self.success(reqid.clone());
            self.respond_nodes(turn, reqid, result, status);
        }
    }

    /// What the agent knows by itself, and why it does not know more.
    pub(super) fn respond_without_status(&self, turn: &mut Turn, reqid: ZeekString, reason: &str) {
        let result = self.failure(reqid.clone(), reason);
        self.respond_nodes(turn, reqid, result, &Processes::default());
    }

    /// DIFFERENCE(agent-not-supervised): an agent that the Supervisor did not start reports itself, the controller that it keeps, and
    /// nodes that the Supervisor has refused. Zeek's agent is always one of the Supervisor's nodes.
    fn respond_nodes(&self, turn: &mut Turn, reqid: ZeekString, result: ResultRecord, status: &Processes) {
        let mut nodes: Vec<NodeStatus> = status
            .iter()
            .map(|(name, supervised)| self.status_of(turn, name, supervised))
            .collect();
        for (name, own) in &self.nodes {
            if !status.contains_key(name) {
                nodes.push(NodeStatus {
                    cluster_role: own.node.role,
                    p: own.node.p,
                    metrics_port: own.node.metrics_port,
                    ..NodeStatus::new(name.clone(), own.node.state)
                });
            }
        }
        if !status.contains_key(&self.settings.name) {
            nodes.push(NodeStatus {
                pid: Some(self.pid),
                ..self.management_status(&self.settings.name, Role::Agent)
            });
        }
        if let Some(controller) = &self.controller
            && !status.contains_key(&controller.name)
        {
            nodes.push(NodeStatus {
                pid: Some(controller.pid),
                ..self.management_status(&controller.name, Role::Controller)
            });
        }
        let result = match to_data(&nodes) {
            Ok(data) => ResultRecord {
                data: Some(data),
                ..result
            },
            Err(error) => self.failure(reqid.clone(), error.to_string()),
        };
        Self::respond(turn, Kind::GetNodes, reqid, vec![result], Logged::Results);
    }

    fn status_of(&self, turn: &mut Turn, name: &ZeekString, supervised: &Supervised) -> NodeStatus {
        let status = if let Some(place) = &supervised.node {
            let own = self.nodes.get(name).or_else(|| self.leaving.get(name));
            NodeStatus {
                cluster_role: place.role,
                p: place.p,
                metrics_port: place.metrics_port,
                ..NodeStatus::new(name.clone(), own.map_or(State::Pending, |own| own.node.state))
            }
        } else {
            match supervised.management.as_ref().map(ZeekString::as_bytes) {
                Some(b"CONTROLLER") => self.management_status(name, Role::Controller),
                Some(b"AGENT") => self.management_status(name, Role::Agent),
                Some(other) => {
                    let other = other.escape_ascii();
                    turn.warning(format!("unexpected cluster management node type '{other}'"));
                    NodeStatus::new(name.clone(), State::Pending)
                }
                None => NodeStatus::new(name.clone(), State::Pending),
            }
        };
        NodeStatus {
            pid: supervised.pid,
            ..status
        }
    }

    /// A controller is shown with the agent's port, an agent only if controllers connect to it.
    fn management_status(&self, name: &ZeekString, mgmt_role: Role) -> NodeStatus {
        let listens = mgmt_role == Role::Controller || !self.settings.connecting;
        NodeStatus {
            mgmt_role,
            p: Some(self.settings.listen_port).filter(|_| listens),
            ..NodeStatus::new(name.clone(), State::Running)
        }
    }
}
