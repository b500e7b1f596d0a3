use std::time::Duration;

use broker_codec::data::{Port, ZeekString};
use mgmt_api::topics;
use serde::{Deserialize, Serialize};

/// What an operator can choose, with Zeek's defaults (`controller/config.zeek`, `agent/config.zeek`, `config.zeek`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `Management::Controller::topic`
    pub topic: ZeekString,
    /// `Management::Agent::topic_prefix`
    pub agent_topic_prefix: ZeekString,
    /// How long a request may take, counted from its arrival: `Management::Request::timeout_interval`.
    pub request_timeout: Duration,
    /// What becomes of a deployment when instances of its configuration are absent.
    #[serde(default)]
    pub absent_instances: AbsentInstances,
    /// The controller's Broker port, which no node may claim. `None` if there is no Broker listener.
    pub broker_port: Option<Port>,
    /// Whether nodes that need a Broker port and have none get one: `Management::Controller::auto_assign_broker_ports`.
    pub auto_assign_broker_ports: bool,
    /// The first such port: `Management::Controller::auto_assign_broker_start_port`.
    pub auto_assign_broker_start_port: Port,
    /// Whether nodes without a metrics port get one: `Management::Controller::auto_assign_metrics_ports`.
    pub auto_assign_metrics_ports: bool,
    /// The first such port: `Management::Controller::auto_assign_metrics_start_port`.
    pub auto_assign_metrics_start_port: Port,
}

impl Settings {
    /// So many fifths of the time that a request may take.
    pub(super) fn fifths(&self, count: u32) -> Duration {
        self.request_timeout.saturating_mul(count) / 5
    }
}

/// What becomes of a deployment when instances of its configuration are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AbsentInstances {
    /// It fails, and nothing is changed. As in Zeek it fails, but there instances are stood down for it.
    #[default]
    Fail,
    /// It goes on with the instances that are there. The others get the configuration when they return.
    Skip,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            topic: topics::CONTROLLER.into(),
            agent_topic_prefix: topics::AGENT_PREFIX.into(),
            request_timeout: Duration::from_secs(10),
            absent_instances: AbsentInstances::Fail,
            broker_port: Some(Port::tcp(2150)),
            auto_assign_broker_ports: true,
            auto_assign_broker_start_port: Port::tcp(2200),
            auto_assign_metrics_ports: true,
            auto_assign_metrics_start_port: Port::tcp(9000),
        }
    }
}
