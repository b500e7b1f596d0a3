//! The controller's API, between clients and the controller on [`crate::topics::CONTROLLER`].

use broker_codec::data::{Set, ZeekString};
use serde::{Deserialize, Serialize};
use strum::{EnumDiscriminants, IntoStaticStr, VariantArray};

use crate::records::{Configuration, ResultRecord, event_name, none_as_default};

/// What a client asks of the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, EnumDiscriminants)]
#[strum_discriminants(
    doc = "The kinds of requests of the controller's API, each a pair of events; `get_instances` and so on.",
    name(RequestKind),
    derive(PartialOrd, Ord, Hash, IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum ClientRequest {
    /// Which agents are connected?
    #[serde(rename = "Management::Controller::API::get_instances_request")]
    GetInstances {
        /// The request's id, chosen by the client; any string.
        reqid: ZeekString,
    },
    /// Check and keep a configuration for a later deployment.
    #[serde(rename = "Management::Controller::API::stage_configuration_request")]
    StageConfiguration {
        reqid: ZeekString,
        config: Configuration,
    },
    /// Show the staged or the deployed configuration.
    #[serde(rename = "Management::Controller::API::get_configuration_request")]
    GetConfiguration {
        reqid: ZeekString,
        /// The deployed one rather than the staged one.
        deployed: bool,
    },
    /// Deploy what was staged last.
    #[serde(rename = "Management::Controller::API::deploy_request")]
    Deploy { reqid: ZeekString },
    /// The state of every process of the framework and of the cluster.
    #[serde(rename = "Management::Controller::API::get_nodes_request")]
    GetNodes { reqid: ZeekString },
    /// The value of a global Zeek identifier in cluster nodes.
    #[serde(rename = "Management::Controller::API::get_id_value_request")]
    GetIdValue {
        reqid: ZeekString,
        id: ZeekString,
        /// The nodes to ask; all of them if empty.
        #[serde(default, deserialize_with = "none_as_default")]
        nodes: Set<ZeekString>,
    },
    /// Restart cluster nodes.
    #[serde(rename = "Management::Controller::API::restart_request")]
    Restart {
        reqid: ZeekString,
        /// The nodes to restart; all of them if empty.
        #[serde(default, deserialize_with = "none_as_default")]
        nodes: Set<ZeekString>,
    },
    /// Never answered, or answered when the request times out; for tests of clients.
    #[serde(rename = "Management::Controller::API::test_timeout_request")]
    TestTimeout {
        reqid: ZeekString,
        /// Whether the controller keeps state for the request, which then times out with an answer.
        with_state: bool,
    },
}

impl ClientRequest {
    pub const fn reqid(&self) -> &ZeekString {
        match self {
            Self::GetInstances { reqid }
            | Self::StageConfiguration { reqid, .. }
            | Self::GetConfiguration { reqid, .. }
            | Self::Deploy { reqid }
            | Self::GetNodes { reqid }
            | Self::GetIdValue { reqid, .. }
            | Self::Restart { reqid, .. }
            | Self::TestTimeout { reqid, .. } => reqid,
        }
    }

    pub fn kind(&self) -> RequestKind {
        self.into()
    }

    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }
}

/// What the controller answers a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientResponse {
    /// The data is a vector of `Instance`.
    #[serde(rename = "Management::Controller::API::get_instances_response")]
    GetInstances { reqid: ZeekString, result: ResultRecord },
    /// One result with the configuration's id, or one per error.
    #[serde(rename = "Management::Controller::API::stage_configuration_response")]
    StageConfiguration {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// The data is the `Configuration`.
    #[serde(rename = "Management::Controller::API::get_configuration_response")]
    GetConfiguration { reqid: ZeekString, result: ResultRecord },
    /// One result per node and, if every agent answered, one with the configuration's id at the end.
    #[serde(rename = "Management::Controller::API::deploy_response")]
    Deploy {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// One result per agent; the data is a vector of `NodeStatus`.
    #[serde(rename = "Management::Controller::API::get_nodes_response")]
    GetNodes {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// One result per node; the data is a string that holds JSON.
    #[serde(rename = "Management::Controller::API::get_id_value_response")]
    GetIdValue {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// One result per node.
    #[serde(rename = "Management::Controller::API::restart_response")]
    Restart {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// Always an error.
    #[serde(rename = "Management::Controller::API::test_timeout_response")]
    TestTimeout { reqid: ZeekString, result: ResultRecord },
}

impl ClientResponse {
    /// The answer to a request of this kind. Answers that have exactly one result take the first; where there is none,
    /// the answer is a failure without a reason.
    pub fn new(kind: RequestKind, reqid: ZeekString, results: Vec<ResultRecord>) -> Self {
        let first = |results: Vec<ResultRecord>| {
            results.into_iter().next().unwrap_or_else(|| ResultRecord {
                success: false,
                ..ResultRecord::success(reqid.clone())
            })
        };
        match kind {
            RequestKind::GetInstances => Self::GetInstances {
                result: first(results),
                reqid,
            },
            RequestKind::StageConfiguration => Self::StageConfiguration { reqid, results },
            RequestKind::GetConfiguration => Self::GetConfiguration {
                result: first(results),
                reqid,
            },
            RequestKind::Deploy => Self::Deploy { reqid, results },
            RequestKind::GetNodes => Self::GetNodes { reqid, results },
            RequestKind::GetIdValue => Self::GetIdValue { reqid, results },
            RequestKind::Restart => Self::Restart { reqid, results },
            RequestKind::TestTimeout => Self::TestTimeout {
                result: first(results),
                reqid,
            },
        }
    }

    /// The id of the request that this answers.
    pub const fn reqid(&self) -> &ZeekString {
        match self {
            Self::GetInstances { reqid, .. }
            | Self::StageConfiguration { reqid, .. }
            | Self::GetConfiguration { reqid, .. }
            | Self::Deploy { reqid, .. }
            | Self::GetNodes { reqid, .. }
            | Self::GetIdValue { reqid, .. }
            | Self::Restart { reqid, .. }
            | Self::TestTimeout { reqid, .. } => reqid,
        }
    }

    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::GetInstances { .. } => RequestKind::GetInstances,
            Self::StageConfiguration { .. } => RequestKind::StageConfiguration,
            Self::GetConfiguration { .. } => RequestKind::GetConfiguration,
            Self::Deploy { .. } => RequestKind::Deploy,
            Self::GetNodes { .. } => RequestKind::GetNodes,
            Self::GetIdValue { .. } => RequestKind::GetIdValue,
            Self::Restart { .. } => RequestKind::Restart,
            Self::TestTimeout { .. } => RequestKind::TestTimeout,
        }
    }

    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }

    /// The results, of which some answers always have exactly one.
    pub fn results(&self) -> &[ResultRecord] {
        match self {
            Self::GetInstances { result, .. }
            | Self::GetConfiguration { result, .. }
            | Self::TestTimeout { result, .. } => std::slice::from_ref(result),
            Self::StageConfiguration { results, .. }
            | Self::Deploy { results, .. }
            | Self::GetNodes { results, .. }
            | Self::GetIdValue { results, .. }
            | Self::Restart { results, .. } => results,
        }
    }
}

impl RequestKind {
    pub const ALL: &[Self] = Self::VARIANTS;
}
