//! Topic names. Broker's subscriptions are string prefixes: a subscriber of [`AGENT_PREFIX`] hears every agent,
//! and agent `a` also hears what is meant for agent `ab`.

use broker_codec::data::ZeekString;

/// Between clients and the controller (`Management::Controller::topic`).
pub const CONTROLLER: &str = "zeek/management/controller";

/// Between the controller and its agents (`Management::Agent::topic_prefix`); see [`agent`].
pub const AGENT_PREFIX: &str = "zeek/management/agent";

/// From our controller to clients that want to know what happens at its agents: their `notify_change`, `notify_error` and
/// `notify_log`, in the form of Zeek 7.0 and later. Not below [`CONTROLLER`], where zeek-client would hear it.
pub const NEWS: &str = "zeek/management/news";

/// As [`CONTROLLER`], in Zeek 4.1 and 4.2 (`ClusterController::topic`).
pub const CLUSTER_CONTROLLER: &str = "zeek/cluster-control/controller";

/// As [`AGENT_PREFIX`], in Zeek 4.1 and 4.2 (`ClusterAgent::topic_prefix`).
pub const CLUSTER_AGENT_PREFIX: &str = "zeek/cluster-control/agent";

/// Between an agent and its cluster nodes (`Management::Node::node_topic`).
pub const NODE: &str = "zeek/management/node";

/// From the Management framework's part of the Supervisor to its agent (`Management::Supervisor::topic_prefix`).
pub const SUPERVISOR_SHIM: &str = "zeek/management/supervisor";

/// Between an agent and its Supervisor (`SupervisorControl::topic_prefix`).
pub const SUPERVISOR: &str = "zeek/supervisor";

/// Between controller and agents of this project ([`crate::link`]). A peer that subscribes to it is one of them, and waits for as long as
/// those do. Zeek's scripts do not.
pub const LINK: &str = "zeek/management/link";

/// The topic of one agent: the prefix, a slash, its name.
pub fn agent(prefix: &[u8], name: &[u8]) -> ZeekString {
    ZeekString::from([prefix, b"/", name].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_subscribe_to_what_zeek_has_hear_no_news() {
        let subscribed = [
            CONTROLLER,
            AGENT_PREFIX,
            CLUSTER_CONTROLLER,
            CLUSTER_AGENT_PREFIX,
            NODE,
        ];
        for topic in subscribed {
            assert!(!NEWS.starts_with(topic), "{topic}");
        }
    }

    #[test]
    fn agent_topics_are_prefix_slash_name() {
        assert_eq!(
            agent(AGENT_PREFIX.as_bytes(), b"instance-1"),
            "zeek/management/agent/instance-1"
        );
    }
}
