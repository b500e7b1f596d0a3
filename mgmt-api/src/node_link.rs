//! What an agent and the nodes under its own supervision say to each other: module `MgmtNode` of `mgmt-agent/scripts/node-link.zeek`.
//!
//! Two topics below that of Zeek's script for nodes, [`nodes_topic`] and [`agent_topic`]: nodes that share a bus do not hear each other,
//! and an agent that has subscribed to Zeek's hears both. Elements that a later version adds at the end of a record are ignored.

use std::time::Duration;

use broker_codec::data::{Address, Set, Timespan, Timestamp, ZeekString};
use serde::{Deserialize, Serialize};

use crate::records::{ResultRecord, event_name, none_as_default};

/// The version that we speak. A node of a later one is known by its hello, which never changes; what else it says is not read.
pub const NODE_PROTOCOL: u64 = 1;

/// How often nodes send heartbeats, unless they are told otherwise.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a heartbeat may say that the next one takes.
const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
const HEARTBEAT_MAX: Duration = Duration::from_secs(600);

/// What an agent asks of nodes: of those in the set, or of all if it is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeLinkRequest {
    /// Say hello.
    #[serde(rename = "MgmtNode::probe")]
    Probe { only: Set<ZeekString> },
    /// Tell the value of a global identifier, as `to_json` writes it.
    #[serde(rename = "MgmtNode::get_id")]
    GetId {
        reqid: ZeekString,
        id: ZeekString,
        only: Set<ZeekString>,
    },
    /// Tell what heartbeats tell, as JSON.
    #[serde(rename = "MgmtNode::status")]
    Status {
        reqid: ZeekString,
        only: Set<ZeekString>,
    },
    /// Read the trace, although the cluster is not complete.
    #[serde(rename = "MgmtNode::read_on")]
    ReadOn { only: Set<ZeekString> },
    /// A worker that is about to be started is part of the cluster's layout.
    #[serde(rename = "MgmtNode::add_node")]
    AddNode {
        reqid: ZeekString,
        name: ZeekString,
        ip: Address,
        /// The manager's name.
        manager: ZeekString,
        only: Set<ZeekString>,
    },
    /// A worker that has ended is no more part of it.
    #[serde(rename = "MgmtNode::remove_node")]
    RemoveNode {
        reqid: ZeekString,
        name: ZeekString,
        only: Set<ZeekString>,
    },
}

/// What a node tells its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeLinkMessage {
    /// It is there: it has read its scripts, and can be asked.
    #[serde(rename = "MgmtNode::hello")]
    Hello {
        node: ZeekString,
        pid: u64,
        /// The Zeek that it is, as `9.0.0`.
        version: ZeekString,
        /// As `Cluster::WORKER`.
        role: ZeekString,
        /// Its [`NODE_PROTOCOL`].
        protocol: u64,
        /// What its agent gave it at the start, to be known by.
        token: ZeekString,
    },
    #[serde(rename = "MgmtNode::heartbeat")]
    Heartbeat { node: ZeekString, beat: Beat },
    /// It has read its trace to the end. No heartbeats follow.
    #[serde(rename = "MgmtNode::trace_done")]
    TraceDone {
        node: ZeekString,
        /// The trace, or nothing if that was told before.
        path: ZeekString,
    },
    /// It ends in good order.
    #[serde(rename = "MgmtNode::bye")]
    Bye { node: ZeekString },
    /// It does not write a log any more, and runs on.
    #[serde(rename = "MgmtNode::cannot_write")]
    CannotWrite { node: ZeekString, reason: ZeekString },
    /// The answer to the request of this id.
    #[serde(rename = "MgmtNode::reply")]
    Reply { reqid: ZeekString, result: ResultRecord },
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Counts them, from 1.
    pub number: u64,
    /// How long it is until the next one.
    pub every: Timespan,
    /// Where packets come from: `none`, `live`, `trace`, or `held`, a trace that is not read before the cluster is complete.
    pub source: ZeekString,
    pub network_time: Timestamp,
    /// Packets that Zeek has received,
    pub received: u64,
    /// that the system reports as dropped,
    pub dropped: u64,
    /// and that were seen on the link, as far as its packet source tells.
    pub link: u64,
    /// Received, of packets.
    pub bytes: u64,
    /// Connections that it tracks.
    pub connections: u64,
    /// Events that wait.
    pub events: u64,
    /// The other nodes of the cluster that it is connected with. With Broker workers are not with workers, nor proxies with proxies.
    #[serde(default, deserialize_with = "none_as_default")]
    pub peers: Vec<ZeekString>,
}

impl NodeLinkRequest {
    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }
}

impl NodeLinkMessage {
    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }

    /// The node that it says to be from.
    pub const fn node(&self) -> Option<&ZeekString> {
        match self {
            Self::Hello { node, .. }
            | Self::Heartbeat { node, .. }
            | Self::TraceDone { node, .. }
            | Self::Bye { node }
            | Self::CannotWrite { node, .. } => Some(node),
            Self::Reply { result, .. } => result.node.as_ref(),
        }
    }
}

impl Beat {
    /// How long it is until the next one, within reason.
    pub fn interval(&self) -> Duration {
        let told = u64::try_from(self.every.0).unwrap_or_default();
        Duration::from_nanos(told).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX)
    }

    /// Whether it waits for the cluster, with a trace to read. Until it reads, no heartbeats follow.
    pub fn is_held(&self) -> bool {
        self.source == "held"
    }
}

/// Where nodes hear their agent, if this is the topic of Zeek's script for nodes.
pub fn nodes_topic(node_topic: &[u8]) -> ZeekString {
    ZeekString::from([node_topic, b"-link/nodes"].concat())
}

/// Where an agent hears its nodes.
pub fn agent_topic(node_topic: &[u8]) -> ZeekString {
    ZeekString::from([node_topic, b"-link/agent"].concat())
}

#[cfg(test)]
mod tests {
    use broker_codec::{Data, zeek::Event};
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::topics;

    fn beat() -> Beat {
        Beat {
            number: 7,
            every: Timespan(5_000_000_000),
            source: "live".into(),
            network_time: Timestamp(1_000),
            received: 1,
            dropped: 2,
            link: 3,
            bytes: 4,
            connections: 5,
            events: 6,
            peers: vec!["logger-1".into(), "manager".into()],
        }
    }

    /// As it travels: the event's name and its arguments.
    fn written<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(said: &T) -> String {
        let event = Event::of(said).unwrap();
        assert_eq!(event.clone().parse::<T>().unwrap(), *said);
        let args: Vec<_> = event.args.iter().map(ToString::to_string).collect();
        format!("{} {}", event.name, args.join(" "))
    }

    #[test]
    fn its_requests_are_these() {
        let only: Set<ZeekString> = ["a".into(), "b".into()].into_iter().collect();
        let asked = [
            NodeLinkRequest::Probe { only: Set::default() },
            NodeLinkRequest::GetId {
                reqid: "r".into(),
                id: "X".into(),
                only: only.clone(),
            },
            NodeLinkRequest::Status {
                reqid: "r".into(),
                only: only.clone(),
            },
            NodeLinkRequest::ReadOn { only: only.clone() },
            NodeLinkRequest::AddNode {
                reqid: "r".into(),
                name: "worker-3".into(),
                ip: "127.0.0.1".parse().unwrap(),
                manager: "manager".into(),
                only: only.clone(),
            },
            NodeLinkRequest::RemoveNode {
                reqid: "r".into(),
                name: "worker-3".into(),
                only,
            },
        ];
        assert_eq!(
            asked.each_ref().map(written),
            [
                "MgmtNode::probe {}",
                "MgmtNode::get_id r X {a, b}",
                "MgmtNode::status r {a, b}",
                "MgmtNode::read_on {a, b}",
                "MgmtNode::add_node r worker-3 127.0.0.1 manager {a, b}",
                "MgmtNode::remove_node r worker-3 {a, b}",
            ]
        );
        for request in &asked {
            assert!(written(request).starts_with(request.event_name()), "{request:?}");
        }
    }

    #[test]
    fn its_messages_are_these() {
        let said = [
            NodeLinkMessage::Hello {
                node: "worker-1".into(),
                pid: 42,
                version: "9.0.0".into(),
                role: "Cluster::WORKER".into(),
                protocol: NODE_PROTOCOL,
                token: "secret".into(),
            },
            NodeLinkMessage::Heartbeat {
                node: "worker-1".into(),
                beat: beat(),
            },
            NodeLinkMessage::TraceDone {
                node: "worker-1".into(),
                path: "/t.pcap".into(),
            },
            NodeLinkMessage::Bye {
                node: "worker-1".into(),
            },
            NodeLinkMessage::Reply {
                reqid: "r".into(),
                result: ResultRecord {
                    node: Some("worker-1".into()),
                    data: Some(Data::String("96".into())),
                    ..ResultRecord::success("r".into())
                },
            },
        ];
        assert_eq!(
            said.each_ref().map(written),
            [
                "MgmtNode::hello worker-1 42 9.0.0 Cluster::WORKER 1 secret",
                "MgmtNode::heartbeat worker-1 (7, 5000000000ns, live, 1000ns, 1, 2, 3, 4, 5, 6, (logger-1, manager))",
                "MgmtNode::trace_done worker-1 /t.pcap",
                "MgmtNode::bye worker-1",
                "MgmtNode::reply r (r, T, nil, 96, nil, worker-1)",
            ]
        );
        for message in &said {
            assert!(written(message).starts_with(message.event_name()), "{message:?}");
            assert_eq!(message.node(), Some(&"worker-1".into()));
        }
    }

    #[test]
    fn what_a_later_version_adds_to_a_heartbeat_is_ignored() {
        let said = NodeLinkMessage::Heartbeat {
            node: "worker-1".into(),
            beat: beat(),
        };
        let mut event = Event::of(&said).unwrap();
        let Some(Data::Vector(fields)) = event.args.last_mut() else {
            panic!("{event:?}");
        };
        fields.push(Data::Count(1));
        assert_eq!(event.parse::<NodeLinkMessage>().unwrap(), said);
    }

    #[test]
    fn an_interval_is_within_reason() {
        let told = |nanoseconds| {
            let every = Timespan(nanoseconds);
            Beat { every, ..beat() }.interval()
        };
        assert_eq!(told(5_000_000_000), HEARTBEAT);
        assert_eq!(told(0), HEARTBEAT_MIN);
        assert_eq!(told(-1), HEARTBEAT_MIN);
        assert_eq!(told(i64::MAX), HEARTBEAT_MAX);
    }

    #[test]
    fn an_agent_that_has_subscribed_to_zeeks_topic_hears_nodes_and_they_do_not_hear_each_other() {
        let topic = topics::NODE.as_bytes();
        let (nodes, agent) = (nodes_topic(topic), agent_topic(topic));
        assert_eq!(nodes, "zeek/management/node-link/nodes");
        assert_eq!(agent, "zeek/management/node-link/agent");
        assert!(agent.starts_with(topic) && !agent.starts_with(&nodes));
    }
}
