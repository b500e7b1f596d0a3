//! Agents of the simulated world.

use std::time::Duration;

use broker_codec::{
    Data, EndpointId,
    data::{ZeekString, to_data},
};
use mgmt_api::{AgentMessage, AgentRequest, NodeStatus, ResultRecord, State};

/// What the world needs of an agent. The model below is the smallest that a controller can work with; an agent proper fits
/// behind the same trait.
pub(super) trait Agent {
    /// Takes a request in, and answers each time after a while.
    fn request(&mut self, request: AgentRequest) -> Vec<(Duration, AgentMessage)>;

    /// The id of the configuration that it runs.
    fn running(&self) -> Option<&ZeekString>;

    /// It ends, and its nodes with it.
    fn crash(&mut self);
}

/// Does as it is told, in no time worth mentioning, but takes a while to start nodes.
#[derive(Debug)]
pub(super) struct ModelAgent {
    name: ZeekString,
    start_up: Duration,
    running: Option<ZeekString>,
    nodes: Vec<ZeekString>,
}

impl ModelAgent {
    pub(super) const fn new(name: ZeekString, start_up: Duration) -> Self {
        Self {
            name,
            start_up,
            running: None,
            nodes: Vec::new(),
        }
    }

    fn success(&self, reqid: &ZeekString) -> ResultRecord {
        ResultRecord {
            instance: Some(self.name.clone()),
            ..ResultRecord::success(reqid.clone())
        }
    }

    /// One success for each node that is meant.
    fn of_nodes<'a>(
        &self,
        reqid: &ZeekString,
        meant: impl IntoIterator<Item = &'a ZeekString>,
    ) -> Vec<ResultRecord> {
        let meant: Vec<_> = meant.into_iter().collect();
        let nodes = self
            .nodes
            .iter()
            .filter(|node| meant.is_empty() || meant.contains(node));
        let result = |node: &ZeekString| ResultRecord {
            node: Some(node.clone()),
            ..self.success(reqid)
        };
        nodes.map(result).collect()
    }
}

impl Agent for ModelAgent {
    fn request(&mut self, request: AgentRequest) -> Vec<(Duration, AgentMessage)> {
        let at_once = Duration::from_millis(1);
        let answer = match request {
            AgentRequest::Deploy { reqid, config, .. } => {
                if self.running.as_ref() == Some(&config.id) {
                    let results = vec![self.success(&reqid)];
                    AgentMessage::Deploy { reqid, results }
                } else {
                    let own = config.nodes.iter().filter(|node| node.instance == self.name);
                    self.nodes = own.map(|node| node.name.clone()).collect();
                    self.running = Some(config.id);
                    let mut results = self.of_nodes(&reqid, []);
                    if results.is_empty() {
                        results.push(self.success(&reqid));
                    }
                    return vec![(self.start_up, AgentMessage::Deploy { reqid, results })];
                }
            }
            AgentRequest::GetNodes { reqid } => {
                let status = |node: &ZeekString| NodeStatus {
                    cluster_role: mgmt_api::ClusterRole::Worker,
                    pid: Some(1),
                    ..NodeStatus::new(node.clone(), State::Running)
                };
                // Its own name comes first, so that data in the wrong place shows.
                let nodes: Vec<_> = std::iter::once(&self.name)
                    .chain(&self.nodes)
                    .map(status)
                    .collect();
                let result = ResultRecord {
                    data: to_data(&nodes).ok(),
                    ..self.success(&reqid)
                };
                AgentMessage::GetNodes { reqid, result }
            }
            AgentRequest::NodeDispatch { reqid, nodes, .. } => {
                let mut results = self.of_nodes(&reqid, &nodes);
                for result in &mut results {
                    result.data = Some(Data::String(self.name.clone()));
                }
                AgentMessage::NodeDispatch { reqid, results }
            }
            AgentRequest::Restart { reqid, nodes } => {
                let results = self.of_nodes(&reqid, &nodes);
                AgentMessage::Restart { reqid, results }
            }
            AgentRequest::AgentWelcome { reqid } => {
                let result = self.success(&reqid);
                AgentMessage::AgentWelcome { reqid, result }
            }
            AgentRequest::AgentStandby { reqid } => {
                self.crash();
                let result = self.success(&reqid);
                AgentMessage::AgentStandby { reqid, result }
            }
        };
        vec![(at_once, answer)]
    }

    fn running(&self) -> Option<&ZeekString> {
        self.running.as_ref()
    }

    fn crash(&mut self) {
        self.running = None;
        self.nodes.clear();
    }
}

/// What an agent says when a connection is there.
pub(super) fn hello(name: &ZeekString, peer: EndpointId, connecting: bool) -> AgentMessage {
    AgentMessage::Hello {
        instance: name.clone(),
        id: peer.to_string().into(),
        connecting,
        api_version: mgmt_api::API_VERSION,
    }
}

/// An answer in another's name, and with unexpected data.
pub(super) fn spoilt(answer: AgentMessage) -> AgentMessage {
    let spoil = |result: ResultRecord| ResultRecord {
        instance: Some("host0".into()),
        data: Some(Data::Count(0)),
        ..result
    };
    match answer {
        AgentMessage::Deploy { reqid, results } => {
            let results = results.into_iter().map(spoil).collect();
            AgentMessage::Deploy { reqid, results }
        }
        AgentMessage::GetNodes { reqid, result } => AgentMessage::GetNodes {
            reqid,
            result: spoil(result),
        },
        AgentMessage::NodeDispatch { reqid, results } => {
            let results = results.into_iter().map(spoil).collect();
            AgentMessage::NodeDispatch { reqid, results }
        }
        other => other,
    }
}
