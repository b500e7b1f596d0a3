use std::{
    collections::btree_map::Entry,
    process::{self, ExitCode},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use broker_codec::{
    Data, Topic,
    data::{Address, Set, Timespan, Timestamp, ZeekString},
    zeek::Event,
};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, EndpointHandle, PeerAddress};
use mgmt_api::{
    ClusterEndpoint, ClusterRole, NodeConfig, NodeLinkMessage, NodeLinkRequest, ResultRecord,
    node_link::{Beat, HEARTBEAT, NODE_PROTOCOL, agent_topic, nodes_topic},
    topics,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{layout::SILENT, status::Status};
use crate::{
    Failure, NodeBehaviour, Release,
    command_line::{CommandLine, variable},
    complain,
    node::{RETRY, flood_output, values::Values},
};

/// What a node and its agent say to each other.
pub(super) struct Link {
    behaviour: NodeBehaviour,
    release: Release,
    version: ZeekString,
    values: Values,
    role: ClusterRole,
    /// Where packets come from, as heartbeats tell.
    source: &'static str,
    /// Whether it ends with its trace.
    ends: bool,
    every: Duration,
    beats: u64,
    said_hello: bool,
    agent: Option<PeerAddress>,
    topic: Topic,
    requests: Topic,
    endpoint: Endpoint,
    handle: EndpointHandle,
}

impl Link {
    pub(super) fn start(
        config: NodeConfig,
        behaviour: NodeBehaviour,
        release: Release,
        version: &str,
        command_line: &CommandLine,
    ) -> Result<Self, Failure> {
        let requests = Topic::new(nodes_topic(topics::NODE.as_bytes()))?;
        let mut endpoint = EndpointConfig::default();
        endpoint.tls = command_line.tls()?;
        endpoint.subscriptions = vec![requests.clone(), Topic::new(topics::SUPERVISOR)?];
        let endpoint = Endpoint::start(endpoint)?;
        let handle = endpoint.handle();
        let agent = agent();
        if let Some(agent) = &agent {
            handle.peer(agent.clone(), Some(RETRY));
        }
        let source = match (&config.interface, &config.pcap_file) {
            (Some(_), _) => "live",
            (None, Some(_)) => "trace",
            (None, None) => "none",
        };
        let seconds = variable("MGMT_NODE_HEARTBEAT").and_then(|text| text.parse().ok());
        let every = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let every = behaviour.heartbeat.map(Duration::from_millis).or(every);
        let own = config.cluster.get(&config.name);
        let role = own.map(|own| own.role).unwrap_or_default();
        let values = Values::new(config, release);
        values.publish_id(&endpoint.id().to_string());
        Ok(Self {
            behaviour,
            release,
            version: version.into(),
            values,
            role,
            source,
            ends: variable("MGMT_NODE_TRACE_END").is_some(),
            every: every.filter(|every| !every.is_zero()).unwrap_or(HEARTBEAT),
            beats: 0,
            said_hello: false,
            agent,
            topic: Topic::new(agent_topic(topics::NODE.as_bytes()))?,
            requests,
            endpoint,
            handle,
        })
    }

    pub(super) async fn serve(mut self, status: &Status) -> Result<ExitCode, Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut beat = interval(self.every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        status.set("RUNNING", "run_loop");
        if self.agent.is_none() && self.is_done().await? {
            return self.end(status).await;
        }
        loop {
            let event = tokio::select! {
                _ = terminate.recv(), if !self.behaviour.ignores_sigterm => return self.terminated(status).await,
                _ = interrupt.recv() => return self.terminated(status).await,
                _ = beat.tick(), if !self.is_mute() => {
                    self.beat().await?;
                    continue;
                }
                event = self.endpoint.recv() => event.ok_or(Failure::EndpointEnded)?,
            };
            match event {
                EndpointEvent::PeerAdded(peer) if peer.dialled.is_some() => {
                    self.hello().await?;
                    self.misbehave();
                    if self.is_done().await? {
                        return self.end(status).await;
                    }
                }
                EndpointEvent::Message(message) if message.topic == self.requests && !self.is_mute() => {
                    let request = Event::from_data(message.data);
                    if let Ok(request) = request.and_then(Event::parse) {
                        self.answer(request).await?;
                    }
                }
                _ => {}
            }
        }
    }

    async fn terminated(self, status: &Status) -> Result<ExitCode, Failure> {
        complain("<params>, line 1: received termination signal");
        self.end(status).await
    }

    async fn end(self, status: &Status) -> Result<ExitCode, Failure> {
        status.set("TERMINATING", "zeek_terminate_loop");
        if let Some(time) = self.behaviour.ends_after {
            sleep(Duration::from_millis(time)).await;
        }
        let node = self.name();
        self.publish(&NodeLinkMessage::Bye { node }).await?;
        self.endpoint.shutdown().await;
        Ok(ExitCode::SUCCESS)
    }

    /// A trace is read in no time. Returns whether the node ends with it.
    async fn is_done(&self) -> Result<bool, Failure> {
        let Some(trace) = self.values.trace() else {
            return Ok(false);
        };
        let (node, path) = (self.name(), trace.clone());
        self.publish(&NodeLinkMessage::TraceDone { node, path }).await?;
        Ok(self.ends)
    }

    /// Whether it has said all that it says.
    fn is_mute(&self) -> bool {
        self.behaviour.mute && self.said_hello
    }

    fn name(&self) -> ZeekString {
        self.values.name().clone()
    }

    async fn hello(&mut self) -> Result<(), Failure> {
        self.publish(&self.greeting()).await?;
        self.said_hello = true;
        self.beat().await
    }

    fn greeting(&self) -> NodeLinkMessage {
        let role = match self.role {
            ClusterRole::None => "NODE",
            ClusterRole::Logger => "LOGGER",
            ClusterRole::Manager => "MANAGER",
            ClusterRole::Proxy => "PROXY",
            ClusterRole::Worker => "WORKER",
        };
        NodeLinkMessage::Hello {
            node: self.name(),
            pid: process::id().into(),
            version: self.version.clone(),
            role: format!("Cluster::{role}").into(),
            protocol: NODE_PROTOCOL,
            token: variable("MGMT_NODE_TOKEN").unwrap_or_default().into(),
        }
    }

    async fn beat(&mut self) -> Result<(), Failure> {
        self.beats += 1;
        let (node, beat) = (self.name(), self.how_it_is());
        self.publish(&NodeLinkMessage::Heartbeat { node, beat }).await
    }

    fn how_it_is(&self) -> Beat {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let received = if self.source == "none" { 0 } else { self.beats };
        Beat {
            number: self.beats,
            every: Timespan(nanoseconds(self.every)),
            source: self.source.into(),
            network_time: Timestamp(nanoseconds(since_epoch)),
            received,
            dropped: 0,
            link: received,
            bytes: received * 60,
            connections: 0,
            events: 0,
            peers: self.values.others(),
        }
    }

    async fn publish(&self, message: &NodeLinkMessage) -> Result<(), Failure> {
        let data = self.release.dress(Event::of(message)?).into_data();
        Ok(self.handle.publish(self.topic.clone(), &data).await?)
    }

    async fn answer(&mut self, request: NodeLinkRequest) -> Result<(), Failure> {
        let only = match &request {
            NodeLinkRequest::Probe { only }
            | NodeLinkRequest::GetId { only, .. }
            | NodeLinkRequest::Status { only, .. }
            | NodeLinkRequest::ReadOn { only }
            | NodeLinkRequest::AddNode { only, .. }
            | NodeLinkRequest::RemoveNode { only, .. } => only,
        };
        if !is_meant(self.values.name(), only) {
            return Ok(());
        }
        let (reqid, outcome) = match request {
            NodeLinkRequest::Probe { .. } => return self.hello().await,
            NodeLinkRequest::ReadOn { .. } => return Ok(()),
            NodeLinkRequest::GetId { reqid, id, .. } => {
                let value = self.values.get(&id).map(Some);
                (reqid, value.map_err(str::to_owned))
            }
            NodeLinkRequest::Status { reqid, .. } => {
                let json = serde_json::to_string(&self.how_it_is()).map_err(Failure::instructions)?;
                (reqid, Ok(Some(json)))
            }
            NodeLinkRequest::AddNode { reqid, name, ip, .. } => {
                (reqid, self.add_worker(name, ip).map(|()| None))
            }
            NodeLinkRequest::RemoveNode { reqid, name, .. } => {
                (reqid, self.remove_worker(&name).map(|()| None))
            }
        };
        let result = match outcome {
            Ok(value) => ResultRecord {
                data: value.map(|value| Data::String(value.into())),
                ..ResultRecord::success(reqid.clone())
            },
            Err(error) => ResultRecord::failure(reqid.clone(), error),
        };
        let result = ResultRecord {
            node: Some(self.name()),
            ..result
        };
        self.publish(&NodeLinkMessage::Reply { reqid, result }).await
    }

    fn add_worker(&mut self, name: ZeekString, host: Address) -> Result<(), String> {
        match self.values.layout().entry(name) {
            Entry::Occupied(entry) => Err(format!("node {} is in the layout already", entry.key())),
            Entry::Vacant(entry) => {
                entry.insert(ClusterEndpoint {
                    role: ClusterRole::Worker,
                    host,
                    p: SILENT,
                    interface: None,
                    pcap_file: None,
                    metrics_port: None,
                });
                Ok(())
            }
        }
    }

    fn remove_worker(&mut self, name: &ZeekString) -> Result<(), String> {
        let layout = self.values.layout();
        match layout.get(name) {
            Some(node) if node.role == ClusterRole::Worker => {
                layout.remove(name);
                Ok(())
            }
            _ => Err(format!("no worker {name} is in the layout")),
        }
    }

    fn misbehave(&self) {
        if self.behaviour.floods_output {
            flood_output();
        }
        if self.behaviour.floods_agent
            && let Ok(event) = Event::of(&self.greeting())
        {
            let (handle, topic) = (self.handle.clone(), self.topic.clone());
            let data = self.release.dress(event).into_data();
            tokio::spawn(async move {
                while handle.publish(topic.clone(), &data).await.is_ok() {
                    // Published is not sent: without a pause nothing would ever be.
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}

/// Where the agent is, if the environment says so.
fn agent() -> Option<PeerAddress> {
    let host = variable("MGMT_NODE_AGENT")?;
    let port = variable("MGMT_NODE_PORT")?;
    let number = port.strip_suffix("/tcp").unwrap_or(&port).parse().ok();
    if number.is_none() {
        complain(&format!(
            "warning in <params>, line 1: no connection to mgmt-agent: MGMT_NODE_PORT is no port: \"{port}\""
        ));
    }
    Some(PeerAddress::new(host, number?))
}

fn is_meant(name: &ZeekString, only: &Set<ZeekString>) -> bool {
    only.is_empty() || only.contains(name)
}
