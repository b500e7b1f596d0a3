use broker_codec::{
    Data, EndpointId,
    data::{Set, ZeekString, to_data},
};
use mgmt_api::{API_VERSION, AgentMessage, AgentRequest, Node, NodeStatus, ResultRecord, Role, State};

/// An agent that does as it is told at once, and whose nodes always come up.
#[derive(Debug)]
pub struct FakeAgent {
    name: ZeekString,
    /// What its nodes answer to `get_id_value`.
    value: ZeekString,
    running: Option<ZeekString>,
    nodes: Vec<Node>,
}

impl FakeAgent {
    pub const fn new(name: ZeekString, value: ZeekString) -> Self {
        Self {
            name,
            value,
            running: None,
            nodes: Vec::new(),
        }
    }

    /// The id of the configuration that it runs.
    pub const fn running(&self) -> Option<&ZeekString> {
        self.running.as_ref()
    }

    /// It ends, and its nodes with it.
    pub fn crash(&mut self) {
        self.running = None;
        self.nodes.clear();
    }

    /// What it says when a connection is there.
    pub fn hello(name: &ZeekString, id: EndpointId, connecting: bool) -> AgentMessage {
        AgentMessage::Hello {
            instance: name.clone(),
            id: id.to_string().into(),
            connecting,
            api_version: API_VERSION,
        }
    }

    pub fn answer(&mut self, request: &AgentRequest) -> AgentMessage {
        let reqid = request.reqid().clone();
        let result = ResultRecord {
            instance: Some(self.name.clone()),
            ..ResultRecord::success(reqid.clone())
        };
        match request {
            AgentRequest::AgentWelcome { .. } => AgentMessage::AgentWelcome { reqid, result },
            AgentRequest::AgentStandby { .. } => {
                self.crash();
                AgentMessage::AgentStandby { reqid, result }
            }
            AgentRequest::Deploy { config, .. } => {
                let own = config.nodes.iter().filter(|node| node.instance == self.name);
                self.nodes = own.cloned().collect();
                self.running = Some(config.id.clone());
                let mut results = self.of_nodes(&Set::default(), &result);
                if results.is_empty() {
                    results.push(result);
                }
                AgentMessage::Deploy { reqid, results }
            }
            AgentRequest::GetNodes { .. } => AgentMessage::GetNodes {
                reqid,
                result: ResultRecord {
                    data: Some(to_data(&self.states()).expect("it can be encoded")),
                    ..result
                },
            },
            AgentRequest::NodeDispatch { action, nodes, .. } => {
                assert_eq!(action[0], "get_id_value");
                let data = Some(Data::String(self.value.clone()));
                let results = self.of_nodes(nodes, &ResultRecord { data, ..result });
                AgentMessage::NodeDispatch { reqid, results }
            }
            AgentRequest::Restart { nodes, .. } => {
                let results = self.of_nodes(nodes, &result);
                AgentMessage::Restart { reqid, results }
            }
        }
    }

    /// A result for each of these nodes, for every node if there are none.
    fn of_nodes(&self, asked: &Set<ZeekString>, result: &ResultRecord) -> Vec<ResultRecord> {
        let asked = |node: &&Node| asked.is_empty() || asked.contains(&node.name);
        let result = |node: &Node| ResultRecord {
            node: Some(node.name.clone()),
            ..result.clone()
        };
        self.nodes.iter().filter(asked).map(result).collect()
    }

    /// Its own state comes first, so that data in the wrong place shows.
    fn states(&self) -> Vec<NodeStatus> {
        let agent = NodeStatus {
            mgmt_role: Role::Agent,
            pid: Some(1),
            ..NodeStatus::new(self.name.clone(), State::Running)
        };
        let node = |node: &Node| NodeStatus {
            cluster_role: node.role,
            pid: Some(2),
            p: node.p,
            metrics_port: node.metrics_port,
            ..NodeStatus::new(node.name.clone(), State::Running)
        };
        [agent].into_iter().chain(self.nodes.iter().map(node)).collect()
    }
}

/// An agent's answer with each of its results changed.
pub fn with_results(answer: AgentMessage, change: impl Fn(ResultRecord) -> ResultRecord) -> AgentMessage {
    let all = |results: Vec<ResultRecord>| results.into_iter().map(&change).collect();
    match answer {
        AgentMessage::Deploy { reqid, results } => AgentMessage::Deploy {
            reqid,
            results: all(results),
        },
        AgentMessage::GetNodes { reqid, result } => AgentMessage::GetNodes {
            reqid,
            result: change(result),
        },
        AgentMessage::NodeDispatch { reqid, results } => AgentMessage::NodeDispatch {
            reqid,
            results: all(results),
        },
        AgentMessage::Restart { reqid, results } => AgentMessage::Restart {
            reqid,
            results: all(results),
        },
        other => other,
    }
}
