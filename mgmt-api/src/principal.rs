//! The peers that ask a daemon for something.

use std::{fmt, net::SocketAddr};

use broker_codec::{
    EndpointId,
    data::{Excerpt, ZeekString},
};
use serde::{Deserialize, Serialize};

use crate::{
    access::{Grant, Role},
    operator::{NotDone, NotDoneKind},
};

/// A peer that asks for something: by which transport, from where, and by which certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    #[serde(rename = "door")]
    pub transport: Transport,
    /// The other end of the connection, unless it is on this host's control socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Its certificate, if it has shown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// What it may, where roles are asked for. Without, it may all that its transport can carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// A certificate, by what an operator tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// As in `CN=alice, O=Example`.
    pub subject: ZeekString,
    /// Its SHA-256, in hexadecimal digits.
    pub fingerprint: String,
}

/// By what a request came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// A client's WebSocket connection.
    WebSocket {
        /// The number of the connection.
        client: u64,
        /// What the client calls itself, if it does.
        application: Option<ZeekString>,
    },
    /// A Broker peering.
    Broker { peer: EndpointId },
    /// The control socket: the user and the process at its other end.
    ControlSocket { uid: u32, pid: i32 },
    /// HTTP over TCP.
    Http { by: Proof },
}

/// By what one has shown over HTTP who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// The token of this name.
    Token { name: String },
    /// Its certificate.
    Certificate,
}

impl Principal {
    /// What it may do. The daemon's user and root, who ask on the control socket, may do everything; so may WebSocket clients and Broker peers where no
    /// roles are set, as with Zeek.
    pub fn grant(&self) -> Grant {
        let grant = self.grant.clone();
        grant.unwrap_or_else(|| Grant::of(Role::Admin, None))
    }

    /// By what it is told from others that share something with it: its token, its certificate or its user, whatever connection it has.
    pub fn name(&self) -> String {
        match (&self.transport, &self.certificate) {
            (Transport::ControlSocket { uid, .. }, _) => format!("user {uid}"),
            (
                Transport::Http {
                    by: Proof::Token { name },
                },
                _,
            ) => format!("token {name}"),
            (_, Some(shown)) => format!("certificate {}", shown.fingerprint),
            (_, None) => self.to_string(),
        }
    }

    /// Whether it is the daemon's own user or root, on the control socket: others take nothing of what these use.
    pub fn is_own_user(&self) -> bool {
        matches!(self.transport, Transport::ControlSocket { .. }) && self.grant.is_none()
    }

    /// Whether it has a role in a cluster; without one, in all of them.
    pub fn has(&self, role: Role, cluster: Option<&str>) -> bool {
        let grant = self.grant.as_ref();
        grant.is_none_or(|grant| grant.has(role, cluster))
    }

    /// Whether it may change something, somewhere.
    ///
    /// # Errors
    ///
    /// If it may only read.
    pub fn check_changes(&self) -> Result<(), NotDone> {
        let grant = self.grant();
        if grant.roles.iter().any(|granted| granted.role >= Role::Deploy) {
            return Ok(());
        }
        let reason = format!(
            "what changes configurations or nodes takes the role {}, any other change {}; {self} has {grant}",
            Role::Deploy,
            Role::Admin
        );
        Err(NotDone::new(NotDoneKind::Forbidden, reason))
    }

    /// Whether it has a role in a cluster; without one, in all of them.
    ///
    /// # Errors
    ///
    /// If not, in words that name the role.
    pub fn check(&self, role: Role, cluster: Option<&str>) -> Result<(), NotDone> {
        if self.has(role, cluster) {
            return Ok(());
        }
        let place = cluster.map_or_else(
            || "all clusters".to_owned(),
            |name| format!("cluster {}", Excerpt::new(name.as_bytes())),
        );
        let reason = format!(
            "this takes the role {role} in {place}; {self} has {}",
            self.grant()
        );
        Err(NotDone::new(NotDoneKind::Forbidden, reason))
    }
}

/// For the log: `WebSocket client 3 at 10.0.0.9:50000, zeek-client/1.4.0`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::WebSocket { client, .. } => write!(f, "WebSocket client {client}")?,
            Transport::Broker { peer } => write!(f, "Broker peer {peer}")?,
            Transport::ControlSocket { uid, pid } => {
                write!(f, "user {uid} on the control socket (PID {pid})")?;
            }
            Transport::Http {
                by: Proof::Token { name },
            } => write!(f, "token {name}")?,
            Transport::Http {
                by: Proof::Certificate,
            } => match &self.certificate {
                Some(Certificate { subject, .. }) => write!(f, "certificate {subject}")?,
                None => f.write_str("certificate")?,
            },
        }
        if let Some(address) = self.address {
            write!(f, " at {address}")?;
        }
        if let Transport::WebSocket {
            application: Some(name),
            ..
        } = &self.transport
        {
            write!(f, ", {name}")?;
        }
        match (&self.transport, &self.grant, &self.certificate) {
            (Transport::WebSocket { .. } | Transport::Broker { .. }, Some(_), Some(shown)) => {
                write!(f, " (certificate {})", shown.subject)
            }
            (Transport::WebSocket { .. } | Transport::Broker { .. }, Some(_), None) => {
                f.write_str(" (without a certificate)")
            }
            _ => Ok(()),
        }
    }
}
