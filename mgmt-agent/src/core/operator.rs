//! What operators ask for. What they stop and start is remembered, and holds until they say otherwise.

use std::time::Duration;

use broker_codec::data::{Excerpt, ZeekString};
use mgmt_api::{
    Level, LinkMessage, Now, OperatorRequest, State,
    log::{nodes_named, some_of},
    node_link::Beat,
    operator::{
        AgentStatus, Changed, Heartbeat, NodeName, NodeReport, NotDone, NotDoneKind, Outputs, Selection,
        text, written,
    },
};

use super::{
    action::{Action, Turn},
    agent::{Agent, Purpose},
    deploy::{ENDING, report},
    link::refuse,
    lives::Life,
    nodes::OwnNode,
    pending::{Asker, Held},
    settings::Supervise,
};

/// What is said while what should run cannot be written down.
pub(super) const FORGETFUL: &str = "what should run cannot be written down: when the agent is restarted, nodes that were stopped are started; \
                         free space on its disk";

impl Agent {
    /// Carries out what an operator asks for, who is named in the log, and answers.
    pub(super) fn serve(&mut self, turn: &mut Turn, to: Asker, who: &str, request: &OperatorRequest) {
        let before = self.writes;
        let outcome = self.operate(turn, &to, who, request);
        if self.writes == before {
            return answer(turn, to, outcome);
        }
        let write = self.writes;
        self.held.push_back(Held { write, to, outcome });
    }

    /// What should run was written down, or not, for this reason.
    pub(super) fn answer_held(&mut self, turn: &mut Turn, failure: Option<&String>) {
        self.written += 1;
        while let Some(held) = self.held.pop_front() {
            if held.write > self.written {
                self.held.push_front(held);
                return;
            }
            let outcome = match failure {
                Some(reason) => held.outcome.and(Err(NotDone::new(
                    NotDoneKind::Unavailable,
                    format!("it is done, but cannot be written down, so that a restart of the agent undoes it: {reason}"),
                ))),
                None => held.outcome,
            };
            answer(turn, held.to, outcome);
        }
    }

    /// Carries out what an operator asks for, who is named in the log. The answer is JSON.
    fn operate(
        &mut self,
        turn: &mut Turn,
        to: &Asker,
        who: &str,
        request: &OperatorRequest,
    ) -> Result<ZeekString, NotDone> {
        match request {
            OperatorRequest::Status => {
                let mut status = self.status(turn.now);
                if matches!(to, Asker::Operator(_)) {
                    status.warnings.extend(self.lacks_controller());
                }
                written(&status)
            }
            OperatorRequest::Outputs(NodeName { node }) => {
                let (_, own) = self.named(node)?;
                written(&own.outputs.as_ref().map_or_else(Outputs::default, Outputs::from))
            }
            OperatorRequest::History(NodeName { node }) => {
                let (name, own) = self.named(node)?;
                let report = self.reported(turn.now, name, own);
                let mut history = self.histories.told(name, self.clock, report);
                history.instance = text(&self.settings.name);
                written(&history)
            }
            OperatorRequest::Stop(which) => written(&self.stop_nodes(turn, who, which)?),
            OperatorRequest::Start(which) => written(&self.start_nodes(turn, who, which)?),
            OperatorRequest::Adopt => written(&self.adopt(turn, who)?),
        }
    }

    /// The node of this name.
    fn named(&self, node: &str) -> Result<(&ZeekString, &OwnNode), NotDone> {
        let named = self.nodes.get_key_value(node.as_bytes());
        named.ok_or_else(|| unknown(&format!("node {}", Excerpt::new(node.as_bytes()))))
    }

    /// Ends nodes, which stay away until they are started: also when the agent or the host is restarted, or the same is deployed again.
    fn stop_nodes(&mut self, turn: &mut Turn, who: &str, which: &Selection) -> Result<Changed, NotDone> {
        let mut nodes = self.selected(which)?;
        // One that has done its work would begin again with another configuration.
        nodes.retain(|name| self.stopped.insert(name.clone()) | self.done.remove(name));
        for name in &nodes {
            self.tell_crash(turn, name);
            let has_process = self.nodes.get(name).is_some_and(|own| own.pid.is_some());
            self.destroy(turn, Purpose::End, name);
            if has_process {
                // It is STOPPED when that has ended.
                self.lives.retain(name, |_| false);
                self.node_came_up(turn, name);
            } else {
                self.now_stopped(turn, name);
            }
        }
        Ok(self.changed(turn, who, "stops", &nodes))
    }

    /// Starts nodes that were stopped, and at once those that are to be started again later.
    fn start_nodes(&mut self, turn: &mut Turn, who: &str, which: &Selection) -> Result<Changed, NotDone> {
        let mut nodes = self.selected(which)?;
        nodes.retain(|name| self.stopped.contains(name) || self.is_down(name));
        for name in &nodes {
            if self.stopped.remove(name) {
                self.done.remove(name);
                self.create(turn, name);
            } else {
                self.renew(turn, name);
            }
        }
        Ok(self.changed(turn, who, "starts", &nodes))
    }

    /// Whether it has ended by itself, and is started again after a while.
    fn is_down(&self, name: &ZeekString) -> bool {
        self.nodes
            .get(name)
            .is_some_and(|own| own.pid.is_none() && matches!(own.node.state, State::Failed | State::Crashed))
    }

    fn changed(&mut self, turn: &mut Turn, who: &str, what: &str, nodes: &[ZeekString]) -> Changed {
        if !nodes.is_empty() {
            self.remember(turn);
            for name in nodes {
                if let Some(own) = self.nodes.get(name) {
                    self.histories.changed(turn.now, name, own.node.state, own.pid);
                    self.histories
                        .explain(name, &format!("the agent {what} it, as {who} wants"));
                }
            }
            report(
                turn,
                Level::Info,
                format!("{what} {}, as {who} wants", some_of(nodes)),
            );
        }
        Changed {
            nodes: nodes.iter().map(text).collect(),
            failures: Vec::new(),
        }
    }

    /// The nodes that are meant, or why none can be.
    fn selected(&self, which: &Selection) -> Result<Vec<ZeekString>, NotDone> {
        which.check()?;
        if self.settings.supervise == Supervise::Zeek {
            return Err(NotDone::new(
                NotDoneKind::Conflict,
                "a Supervisor of Zeek's keeps the nodes of this agent, and would start them again",
            ));
        }
        if self.is_ending {
            return Err(NotDone::new(NotDoneKind::Unavailable, ENDING));
        }
        if let Some(reason) = &self.unavailable {
            return Err(NotDone::new(NotDoneKind::Unavailable, reason.as_str()));
        }
        let has_node = |name: &str| self.nodes.contains_key(name.as_bytes());
        if let Some(what) = which.unknown(has_node, |name| self.settings.name == name) {
            return Err(unknown(&what));
        }
        let nodes = self.nodes.iter();
        let meant = nodes.filter(|(name, own)| which.means(name, &self.settings.name, own.node.role));
        let meant: Vec<ZeekString> = meant.map(|(name, _)| name.clone()).collect();
        if meant.is_empty() && !which.all {
            return Err(which.means_none());
        }
        Ok(meant)
    }

    fn status(&self, now: Now) -> AgentStatus {
        AgentStatus {
            instance: text(&self.settings.name),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.pid,
            uptime: now.since_start().as_secs(),
            clock: Some((self.clock + now.since_start()).unix_millis()),
            supervise: self.settings.supervise.to_string(),
            configuration: self.config.as_ref().map(|config| text(&config.id)),
            on_trial: self.trials.is_under_way(),
            http: self.settings.http,
            cpus: self.settings.cpus.clone(),
            trouble: self.unavailable.clone(),
            warnings: self.operator_warnings(),
            nodes: self
                .nodes
                .iter()
                .map(|(name, own)| self.reported(now, name, own))
                .collect(),
        }
    }

    fn operator_warnings(&self) -> Vec<String> {
        let ending = self.is_ending.then(|| ENDING.to_owned());
        let forgetful = self.is_forgetful.then(|| FORGETFUL.to_owned());
        let of_directories = self.lost.clone().into_iter().chain(self.homeless());
        let own = ending.into_iter().chain(forgetful);
        own.chain(of_directories)
            .chain(self.controllers.refusals())
            .chain(self.warnings.clone())
            .chain(self.idle())
            .chain(self.outdated())
            .collect()
    }

    fn reported(&self, now: Now, name: &ZeekString, own: &OwnNode) -> NodeReport {
        let life = self.life_of(name, own);
        let is_up = own.node.state == State::Running;
        NodeReport {
            node: text(name),
            role: own.node.role,
            state: own.node.state,
            pid: own.pid,
            uptime: own.uptime(now).map(|uptime| uptime.as_secs()),
            restarts: own.restarts,
            zeek: life.and_then(|life| life.version.as_ref()).map(text),
            zeek_installed: self.zeek_after(own),
            port: own.node.p.map(|port| port.number),
            metrics_port: own.node.metrics_port.map(|port| port.number),
            stopped_by_operator: self.stopped.contains(name) && !self.done.contains(name),
            reason: own.why_down().filter(|_| !is_up).cloned(),
            metrics: self.metrics_of(own),
            heartbeat: self.heartbeat_of(now, name, own),
        }
    }

    /// The Zeek that was installed since a node's process was started.
    fn zeek_after(&self, own: &OwnNode) -> Option<String> {
        let (at, version) = self.upgrade.as_ref()?;
        let is_older = own.pid.is_some() && own.started.is_none_or(|started| started < *at);
        is_older.then(|| version.clone())
    }

    /// That nodes run on with the Zeek before.
    fn outdated(&self) -> Option<String> {
        let older = self
            .nodes
            .iter()
            .filter(|(_, own)| self.zeek_after(own).is_some());
        let older: Vec<&ZeekString> = older.map(|(name, _)| name).collect();
        let (_, version) = self.upgrade.as_ref().filter(|_| !older.is_empty())?;
        Some(format!(
            "Zeek {version} was installed since {} started: restart all nodes to have one Zeek in the cluster",
            nodes_named(&older)
        ))
    }

    /// What was heard of a node's present process.
    pub(super) fn life_of(&self, name: &ZeekString, own: &OwnNode) -> Option<&Life> {
        let life = self.lives.of(name);
        life.filter(|life| own.pid.is_some() && life.pid == own.pid)
    }

    /// What it said in its latest heartbeat.
    pub(super) fn heartbeat_of(&self, now: Now, name: &ZeekString, own: &OwnNode) -> Option<Heartbeat> {
        let life = self.life_of(name, own)?;
        Some(heartbeat(now - life.at, life.beat.as_ref()?))
    }
}

fn answer(turn: &mut Turn, to: Asker, outcome: Result<ZeekString, NotDone>) {
    match (to, outcome) {
        (Asker::Operator(id), outcome) => turn.push(Action::Answer { id, outcome }),
        (Asker::Controller { peer, reqid }, Ok(json)) => {
            let ok = true;
            let message = LinkMessage::Reply { reqid, ok, json };
            turn.push(Action::Link { peer, message });
        }
        (Asker::Controller { peer, reqid }, Err(refusal)) => refuse(turn, peer, reqid, &refusal),
    }
}

fn heartbeat(age: Duration, beat: &Beat) -> Heartbeat {
    Heartbeat {
        age: age.as_secs(),
        received: beat.received,
        dropped: beat.dropped,
        peers: beat.peers.iter().map(text).collect(),
    }
}

fn unknown(what: &str) -> NotDone {
    NotDone::new(NotDoneKind::Unknown, format!("this agent has no {what}"))
}
