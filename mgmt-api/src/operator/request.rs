//! What agents and controllers are asked alike, and answer.

use std::fmt;

use broker_codec::data::{Excerpt, ZeekString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plain;
use crate::{enums::ClusterRole, link::to_json};

/// The kinds of requests, which are the features of an agent that answers them.
pub const STATUS: &str = "status";
pub const OUTPUTS: &str = "outputs";
pub const HISTORY: &str = "history";
pub const STOP: &str = "stop";
pub const START: &str = "start";

/// Which daemon a control socket is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct About {
    pub program: Program,
    /// The daemon's name; an agent's is that of its instance.
    pub name: String,
    /// The daemon's release, as `0.1.0`.
    pub version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    Controller,
    Agent,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeName {
    pub node: String,
}

/// Which nodes are meant: those for which all holds that is given, or really all. A program with an empty list does not mean all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// None for any.
    pub nodes: Vec<String>,
    /// None for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "plain::serialize_option",
        deserialize_with = "plain::deserialize_option"
    )]
    #[schema(schema_with = plain::words_or_null::<ClusterRole>)]
    pub role: Option<ClusterRole>,
    /// Given alone: all nodes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Selection {
    /// What is selected: names, the role, `all`.
    pub fn words(&self) -> Vec<String> {
        let role = self.role.iter().map(ToString::to_string);
        let all = self.all.then(|| "all".to_owned());
        let names = self.nodes.iter().chain(&self.instances).cloned();
        names.chain(role).chain(all).collect()
    }
}

/// The nodes that were not as they are to be now, and what could not be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Changed {
    pub nodes: Vec<String>,
    pub failures: Vec<Failure>,
}

/// What could not be done on an instance, or for one of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Failure {
    pub instance: Option<String>,
    pub node: Option<String>,
    pub reason: String,
}

/// Certificates, tokens, roles and logs were reloaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Reloaded {
    /// How many there are now: tokens,
    pub tokens: usize,
    /// lines of the setting `roles`,
    pub roles: usize,
    /// and entries of the deny list.
    pub denied: usize,
    /// What is logged on standard error from now on.
    pub log_level: String,
    /// The settings that are configured otherwise than the daemon has them: it takes them when it is started again.
    pub needs_restart: Vec<String>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tokens,
            roles,
            denied,
            log_level,
            ..
        } = self;
        write!(
            f,
            "reloaded, log level {log_level}, tokens: {tokens}, lines of roles: {roles}, entries of the deny list: {denied}"
        )?;
        match &self.needs_restart[..] {
            [] => Ok(()),
            settings => write!(
                f,
                "; restart the daemon to change {} as configured now",
                settings.join(", ")
            ),
        }
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotDone {
    #[serde(default)]
    pub kind: NotDoneKind,
    pub reason: ZeekString,
    /// Each thing that is wrong, of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotDoneKind {
    /// The request cannot be read.
    Malformed,
    /// Who asks has not the role that it takes.
    Forbidden,
    /// There is no such node, instance or cluster.
    Unknown,
    /// It cannot be done as things are; trying again does not help.
    Conflict,
    /// What it rests on is not so any more.
    NotAsExpected,
    /// It must say what it rests on.
    NothingExpected,
    /// It can be read, and what it says is wrong.
    Invalid,
    /// It cannot be done now.
    #[default]
    #[serde(other)]
    Unavailable,
}

impl NotDone {
    pub fn new(kind: NotDoneKind, reason: impl Into<ZeekString>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            errors: Vec::new(),
        }
    }
}

impl Selection {
    /// Whether it says which nodes it means.
    ///
    /// # Errors
    ///
    /// If nothing is given, or something besides `all`.
    pub fn check(&self) -> Result<(), NotDone> {
        let is_given = !self.nodes.is_empty() || !self.instances.is_empty() || self.role.is_some();
        if is_given == self.all {
            let reason = "say which nodes are meant: by their names, instances or role, or all";
            return Err(NotDone::new(NotDoneKind::Malformed, reason));
        }
        Ok(())
    }

    /// Why nothing is done, where no node is meant.
    pub fn means_none(&self) -> NotDone {
        let reason = "there is no node for which all holds that was given: names, instances and role";
        NotDone::new(NotDoneKind::Unknown, reason)
    }

    /// Whether it means a node of this name and role on this instance.
    pub fn means(&self, node: &ZeekString, instance: &ZeekString, role: ClusterRole) -> bool {
        let is_in = |names: &[String], name: &ZeekString| {
            names.is_empty() || names.iter().any(|meant| *name == meant.as_str())
        };
        is_in(&self.nodes, node)
            && is_in(&self.instances, instance)
            && self.role.is_none_or(|meant| meant == role)
    }

    /// The first of its nodes and instances that is not one of these, in words.
    pub fn unknown(
        &self,
        has_node: impl Fn(&str) -> bool,
        has_instance: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let node = self.nodes.iter().find(|name| !has_node(name));
        let instance = self.instances.iter().find(|name| !has_instance(name));
        let in_words = |name: &String| {
            let shown = Excerpt::new(name.as_bytes());
            if has_instance(name) {
                format!("node {shown}; {shown} is an instance: --instance {shown}")
            } else {
                format!("node {shown}")
            }
        };
        node.map(in_words)
            .or_else(|| instance.map(|name| format!("instance {}", Excerpt::new(name.as_bytes()))))
    }
}

/// An answer, as JSON.
pub fn written(answer: &impl Serialize) -> Result<ZeekString, NotDone> {
    to_json(answer).map_err(|error| NotDone::new(NotDoneKind::Unavailable, error.to_string()))
}

/// A text of Zeek's for JSON; what is no UTF-8 is replaced.
pub fn text(name: &ZeekString) -> String {
    name.to_str_lossy().into_owned()
}
