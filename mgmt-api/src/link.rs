//! The extension: what our controller and our agents say to each other that Zeek's API cannot carry. Module `MgmtLink`, on
//! [`topics::LINK`](crate::topics::LINK).
//!
//! A peer that speaks it has subscribed to that topic, and no other peer is sent any of it. The controller announces itself to such a peer
//! when it connects, and the agent in answer to that: controllers of ours that had subscribed before there was an extension are never
//! spoken to.
//!
//! What it announces has its [id](ControllerId) in it, if it has one. An agent that obeys another controller says so in its answer: it may be asked how
//! it is, and does nothing for this one. A controller that says nothing of itself, as those up to 0.1, is as one of Zeek's.
//!
//! The three events never change. What does is what they carry: which kinds of requests an agent answers is said by its features, a
//! request of another kind is refused, and fields of JSON that a receiver does not know are ignored, but for those of
//! [what operators ask](crate::operator). So each version works with the one before it.

use std::collections::BTreeMap;

use broker_codec::data::{Port, ZeekString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    controller_id::ControllerId,
    log::MESSAGE_BYTES_MAX,
    records::{Configuration, Node, event_name},
};

/// The version that we speak.
pub const LINK_VERSION: u64 = 1;

/// The feature, and the kind of request, by which an agent looks whether it could run nodes: [`Prepare`].
pub const PREPARE: &str = "prepare";

/// The feature of an agent that starts nodes itself: it needs to know the whole cluster for [`PREPARE`].
pub const LAUNCH: &str = "launch";

/// The feature, and the kind of request, by which an agent takes the configuration that it gets next for a [`Trial`].
pub const TRIAL: &str = "trial";

/// The feature of an agent that can say what a deployment would do to its nodes: [`Prepare::plan`].
pub const PLAN: &str = "plan";

/// The event of [`LinkMessage::Request`].
pub const REQUEST: &str = "MgmtLink::request";

/// How a feature begins that is the id of the controller who announces itself.
const CONTROLLER: &str = "controller=";

/// How a feature begins that is the id of the controller that an agent obeys, who does not obey the one that it answers.
const OBEYS: &str = "obeys=";

/// What either side says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkMessage {
    /// Which version it speaks, and what it can be asked for.
    #[serde(rename = "MgmtLink::announce")]
    Announce { version: u64, features: Vec<ZeekString> },
    #[serde(rename = "MgmtLink::request")]
    Request {
        reqid: ZeekString,
        kind: ZeekString,
        json: ZeekString,
    },
    /// The answer to the request of this id. If it is not `ok`, the JSON is a [`NotDone`](crate::operator::NotDone).
    #[serde(rename = "MgmtLink::reply")]
    Reply {
        reqid: ZeekString,
        ok: bool,
        json: ZeekString,
    },
}

/// Whether an agent could run these nodes, which are those of its instance. It changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    pub nodes: Vec<Node>,
    /// Ports that nodes of other instances give up when it is deployed.
    #[serde(default)]
    pub given_up: Vec<Port>,
    /// Whether nothing comes of it: the agent looks, says what would become of each node, and has no node learn of others. For an agent with the feature
    /// [`PLAN`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// What is to be deployed, with the nodes of all instances, for an agent with the feature [`LAUNCH`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
}

impl Prepare {
    /// How its JSON begins, up to the configuration: each agent's own.
    pub fn beginning(mut self) -> Result<ZeekString, LinkError> {
        self.configuration = None;
        let mut json = to_json(&self)?.into_bytes();
        json.pop();
        Ok(json.into())
    }

    /// How its JSON ends after that: the same for all agents that get this configuration.
    pub fn end(configuration: &Configuration) -> Result<ZeekString, LinkError> {
        let json = to_json(configuration)?;
        Ok([br#","configuration":"#, &json[..], b"}"].concat().into())
    }
}

/// The configuration of this id is on trial when it is deployed next: an agent that is started again goes back to the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub configuration: ZeekString,
}

/// The answer to [`Prepare`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    pub problems: Vec<Problem>,
    /// By what the nodes would talk to each other here, of an agent that starts nodes itself: what the configuration says, else what goes
    /// with the agent's Zeek.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<ZeekString>,
    /// What would become of the nodes that the agent has and of those that it is to have, in the order of their names, if it was asked for a
    /// [plan](Prepare::plan).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fates: Option<Vec<NodeFate>>,
}

/// What would become of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFate {
    pub node: ZeekString,
    pub fate: Fate,
    /// Why it would be restarted. One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ZeekString>,
    /// How long its process took at its last start until it was up, in milliseconds, if the agent has seen that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_millis: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It runs on.
    Kept,
    /// It runs on, and is told of other workers.
    Told,
    Restarted,
    /// It does not run, and is started.
    Started,
    Ended,
    /// It does not run, and stays so.
    Stopped,
    /// As a later release may call it.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Why a node could not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub node: ZeekString,
    /// One line.
    pub reason: ZeekString,
}

impl Problem {
    pub fn new(node: &ZeekString, reason: impl Into<ZeekString>) -> Self {
        Self {
            node: node.clone(),
            reason: reason.into(),
        }
    }
}

/// Why each of these nodes could not run, with all of its reasons in one text.
pub fn reasons(problems: Vec<Problem>) -> BTreeMap<ZeekString, String> {
    let mut reasons: BTreeMap<ZeekString, String> = BTreeMap::new();
    for Problem { node, reason } in problems {
        let reason = reason.excerpt(MESSAGE_BYTES_MAX).to_string();
        let said = reasons.entry(node).or_default();
        if !said.is_empty() {
            said.push_str("; ");
        }
        said.push_str(&reason);
    }
    reasons
}

/// The nodes that could not run for the same reasons, with these, for an operator to read them once. In the order of each one's first node.
pub fn by_reasons(reasons: &BTreeMap<ZeekString, String>) -> Vec<(&str, Vec<&ZeekString>)> {
    let mut groups: Vec<(&str, Vec<&ZeekString>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (node, reasons) in reasons {
        let place = *places.entry(reasons.as_str()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, nodes)) => nodes.push(node),
            None => groups.push((reasons.as_str(), vec![node])),
        }
    }
    groups
}

/// JSON that cannot be written, or is not what was to come.
#[derive(Debug, thiserror::Error)]
#[error("not the JSON of {what}: {source}")]
pub struct LinkError {
    what: &'static str,
    source: serde_json::Error,
}

impl LinkMessage {
    pub fn announce(features: &[&str]) -> Self {
        Self::Announce {
            version: LINK_VERSION,
            features: features.iter().map(|feature| (*feature).into()).collect(),
        }
    }

    /// What a controller announces; without an id, as a controller up to 0.1.
    pub fn announce_controller(id: Option<&ControllerId>) -> Self {
        let id = id.map(|id| format!("{CONTROLLER}{}", id.to_word()));
        Self::announce(id.as_deref().as_slice())
    }

    /// What an agent announces; to a controller that it does not obey also which one it obeys.
    pub fn announce_agent(features: &[&str], obeyed: Option<&ControllerId>) -> Self {
        let obeyed = obeyed.map(|id| format!("{OBEYS}{}", id.to_word()));
        let all: Vec<&str> = features.iter().copied().chain(obeyed.as_deref()).collect();
        Self::announce(&all)
    }

    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }

    /// The id of the request that it is, or answers.
    pub const fn reqid(&self) -> Option<&ZeekString> {
        match self {
            Self::Announce { .. } => None,
            Self::Request { reqid, .. } | Self::Reply { reqid, .. } => Some(reqid),
        }
    }
}

/// Who a controller is that announces itself with these features, if it says so.
pub fn controller_in(features: &[ZeekString]) -> Option<ControllerId> {
    id_in(features, CONTROLLER)
}

/// Which controller an agent obeys that announces itself with these features, if it is another than the one that it answers.
pub fn obeyed_in(features: &[ZeekString]) -> Option<ControllerId> {
    id_in(features, OBEYS)
}

fn id_in(features: &[ZeekString], key: &str) -> Option<ControllerId> {
    let ids = features
        .iter()
        .filter_map(|feature| feature.strip_prefix(key.as_bytes()));
    ids.into_iter().find_map(ControllerId::from_word)
}

/// What a message carries, as JSON. Fails if the name of an environment variable is not UTF-8, which no key in JSON can be.
pub fn to_json<T: Serialize>(value: &T) -> Result<ZeekString, LinkError> {
    let text = serde_json::to_string(value).map_err(error::<T>)?;
    Ok(text.into())
}

pub fn from_json<T: DeserializeOwned>(json: &ZeekString) -> Result<T, LinkError> {
    serde_json::from_slice(json).map_err(error::<T>)
}

/// What to log of a peer, if it speaks another version.
pub fn other_version(version: u64) -> Option<String> {
    let of_other =
        || format!("speaks version {version} of the extension, and not {LINK_VERSION} as this program does");
    (version != LINK_VERSION).then(of_other)
}

fn error<T>(source: serde_json::Error) -> LinkError {
    let what = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    LinkError { what, source }
}

#[cfg(test)]
mod tests {
    use broker_codec::zeek::Event;

    use super::*;
    use crate::enums::ClusterRole;

    #[test]
    fn its_events_are_these() {
        let said = [
            LinkMessage::announce(&[PREPARE]),
            LinkMessage::Request {
                reqid: "r".into(),
                kind: PREPARE.into(),
                json: "{}".into(),
            },
            LinkMessage::Reply {
                reqid: "r".into(),
                ok: true,
                json: "{}".into(),
            },
        ];
        let written = said.map(|message| {
            let event = Event::of(&message).unwrap();
            assert_eq!(event.clone().parse::<LinkMessage>().unwrap(), message);
            assert_eq!(event.name.to_string(), message.event_name());
            let args: Vec<_> = event.args.iter().map(ToString::to_string).collect();
            format!("{} {}", event.name, args.join(" "))
        });
        assert_eq!(
            written,
            [
                "MgmtLink::announce 1 (prepare)",
                "MgmtLink::request r prepare {}",
                "MgmtLink::reply r T {}"
            ]
        );
    }

    #[test]
    fn who_a_controller_is_is_one_feature_that_others_do_not_know() {
        let features = |message| match message {
            LinkMessage::Announce { features, .. } => features,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            features(LinkMessage::announce_controller(None)),
            Vec::<ZeekString>::new()
        );
        let id = ControllerId::new("5f0c2a9e71b3d846", 3);
        let said = features(LinkMessage::announce_controller(id.as_ref()));
        assert_eq!(said, [ZeekString::from("controller=5f0c2a9e71b3d846/3")]);
        assert_eq!((controller_in(&said), obeyed_in(&said)), (id.clone(), None));
        let said = features(LinkMessage::announce_agent(&[PREPARE], id.as_ref()));
        assert_eq!(
            said,
            [PREPARE.into(), ZeekString::from("obeys=5f0c2a9e71b3d846/3")]
        );
        assert_eq!((controller_in(&said), obeyed_in(&said)), (None, id));
        assert_eq!(
            controller_in(&["controller=".into(), b"controller=\xff".as_slice().into()]),
            None
        );
    }

    #[test]
    fn bytes_of_all_kinds_survive_and_what_a_later_version_adds_is_ignored() {
        let bytes = ZeekString::from([b'a', 0, 0xff, b'"', b'\n'].as_slice());
        let node = Node {
            env: BTreeMap::from([("a=\0\"".into(), bytes.clone())]),
            scripts: Some(vec![bytes.clone()]),
            ..Node::new(bytes.clone(), bytes.clone(), ClusterRole::Worker)
        };
        let prepare = Prepare {
            nodes: vec![node],
            given_up: vec![Port::tcp(1)],
            plan: false,
            configuration: None,
        };
        let json = to_json(&prepare).unwrap();
        assert_eq!(from_json::<Prepare>(&json).unwrap(), prepare);

        let whole = Prepare {
            plan: true,
            configuration: Some(Configuration::new("id", [], prepare.nodes.clone())),
            ..prepare
        };
        let end = Prepare::end(whole.configuration.as_ref().unwrap()).unwrap();
        let json = [&whole.clone().beginning().unwrap()[..], &end].concat();
        assert_eq!(to_json(&whole).unwrap(), ZeekString::from(json));

        let later = r#"{"problems": [{"node": "a", "reason": "b", "place": 1}], "more": []}"#;
        assert_eq!(from_json::<Prepared>(&later.into()).unwrap().problems.len(), 1);
    }

    #[test]
    fn what_is_no_such_json_is_an_error_that_says_what_was_to_come_and_where_it_ends() {
        let error = from_json::<Prepared>(&r#"{"problems": 1}"#.into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not the JSON of Prepared: invalid type: integer `1`, expected a sequence at line 1 column 14"
        );
    }

    #[test]
    fn nodes_that_could_not_run_for_the_same_reasons_are_named_once() {
        let problem = |node: &str, reason: &str| Problem::new(&node.into(), reason);
        let found = reasons(vec![
            problem("c", "x"),
            problem("a", "x"),
            problem("b", "x"),
            problem("a", "y"),
        ]);
        let groups: Vec<String> = by_reasons(&found)
            .into_iter()
            .map(|(reasons, nodes)| format!("{}: {reasons}", crate::log::nodes_named(&nodes)))
            .collect();
        assert_eq!(groups, ["node a: x; y", "nodes b, c: x"]);
    }
}
