use std::{net::SocketAddr, time::Duration};

use broker_codec::data::ZeekString;
use jiff::Timestamp;
use mgmt_api::{Principal, Proof, Transport, operator::text};
use serde::Serialize;

use crate::pace::network;

/// The longest text in a line, in bytes; of longer ones the beginning is there.
const TEXT_BYTES_MAX: usize = 256;

/// The longest reason.
const REASON_BYTES_MAX: usize = 1024;

/// How many targets are named. Of more, the first.
const TARGETS_MAX: usize = 32;

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it came.
    pub time: Timestamp,
    /// Who has asked, if that is known.
    pub who: Option<Principal>,
    /// From where, if who has asked is not known.
    pub address: Option<SocketAddr>,
    pub what: What,
    pub outcome: Outcome,
    pub took: Duration,
}

/// What was asked for, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct What {
    /// Its kind.
    pub request: String,
    /// Whether it only shows something.
    pub is_read: bool,
    pub cluster: Option<String>,
    /// Nodes, or what else it is about.
    pub targets: Vec<String>,
    /// Its id.
    pub id: Option<String>,
    /// What was staged or deployed before it, by its id,
    pub before: Option<String>,
    /// and after it.
    pub after: Option<String>,
}

impl What {
    /// What an event of Zeek's API asks for.
    pub fn of_event(name: &str, reqid: &ZeekString) -> Self {
        let kind = name.rsplit("::").next().unwrap_or(name);
        Self {
            request: kind.trim_end_matches("_request").to_owned(),
            is_read: kind.starts_with("get_"),
            id: Some(text(reqid)),
            ..Self::default()
        }
    }
}

/// How a request has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Who has asked may not.
    Refused(String),
    Failed(String),
    /// Whether it was done is not known.
    Unknown(String),
}

#[derive(Serialize)]
struct Json {
    time: String,
    transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Who>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

#[derive(Serialize)]
struct Who {
    kind: &'static str,
    name: String,
    /// Of a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

#[derive(Serialize)]
struct Gap {
    time: String,
    lines_lost: u64,
}

impl Line {
    /// As it stands in the file, with its end.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let What {
            request,
            is_read: _,
            cluster,
            targets,
            id,
            before,
            after,
        } = &self.what;
        let short = |text: &String| bounded(text, TEXT_BYTES_MAX);
        let (outcome, reason) = match &self.outcome {
            Outcome::Done => ("done", None),
            Outcome::Refused(reason) => ("refused", Some(reason)),
            Outcome::Failed(reason) => ("failed", Some(reason)),
            Outcome::Unknown(reason) => ("unknown", Some(reason)),
        };
        end(&Json {
            time: self.time.to_string(),
            transport: self.who.as_ref().map_or("http", transport),
            principal: self.who.as_ref().map(who),
            address: self.who.as_ref().map_or(self.address, |who| who.address),
            request: short(request),
            cluster: cluster.as_ref().map(short),
            targets: targets.iter().take(TARGETS_MAX).map(short).collect(),
            id: id.as_ref().map(short),
            outcome,
            reason: reason.map(|reason| bounded(reason, REASON_BYTES_MAX)),
            ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            before: before.as_ref().map(short),
            after: after.as_ref().map(short),
        })
    }

    /// Whether something has changed by it, or may have.
    pub(super) fn is_of_change(&self) -> bool {
        let may_have = match &self.outcome {
            Outcome::Done => true,
            Outcome::Unknown(_) => self.who.is_some(),
            Outcome::Refused(_) | Outcome::Failed(_) => false,
        };
        may_have && !self.what.is_read
    }

    /// Who has asked, whatever the connection; without a principal, from where.
    pub(super) fn sender(&self) -> String {
        let address = |address: Option<SocketAddr>| {
            address.map_or_else(String::new, |address| network(address.ip()).to_string())
        };
        let Some(principal) = &self.who else {
            return address(self.address);
        };
        match who(principal) {
            Who { kind, .. } if matches!(kind, "client" | "peer") && principal.address.is_some() => {
                format!("{kind} at {}", address(principal.address))
            }
            Who { kind, name, .. } => format!("{kind} {name}"),
        }
    }

    /// What stands in the place of lines that are lost.
    pub(super) fn gap(lost: u64) -> Vec<u8> {
        end(&Gap {
            time: Timestamp::now().to_string(),
            lines_lost: lost,
        })
    }
}

fn end(line: &impl Serialize) -> Vec<u8> {
    // Texts and numbers can be written.
    let mut json = serde_json::to_vec(line).unwrap_or_default();
    json.push(b'\n');
    json
}

const fn transport(who: &Principal) -> &'static str {
    match who.transport {
        Transport::WebSocket { .. } => "websocket",
        Transport::Broker { .. } => "broker",
        Transport::ControlSocket { .. } => "control_socket",
        Transport::Http { .. } => "http",
    }
}

fn who(who: &Principal) -> Who {
    let of_certificate = who.certificate.as_ref().map(|shown| text(&shown.subject));
    let (kind, name) = match (&who.transport, of_certificate) {
        (Transport::ControlSocket { uid, .. }, _) => ("user", uid.to_string()),
        (
            Transport::Http {
                by: Proof::Token { name },
            },
            _,
        ) => ("token", name.clone()),
        (_, Some(subject)) => ("certificate", subject),
        (Transport::WebSocket { client, application }, None) => {
            let application = application.as_ref().map_or_else(String::new, text);
            ("client", format!("{client} {application}").trim_end().to_owned())
        }
        (Transport::Broker { peer }, None) => ("peer", peer.to_string()),
        (Transport::Http { .. }, None) => ("certificate", String::new()),
    };
    let shown = who.certificate.as_ref().filter(|_| kind == "certificate");
    Who {
        kind,
        name: bounded(&name, TEXT_BYTES_MAX),
        fingerprint: shown.map(|shown| shown.fingerprint.clone()),
    }
}

fn bounded(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let ends = (0..=max).rev();
    let beginning = ends.into_iter().find_map(|end| text.get(..end));
    format!("{}…", beginning.unwrap_or_default())
}
