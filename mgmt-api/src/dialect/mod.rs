//! The dialects of the Management framework's API: which releases send what, and how that is brought into the one model that
//! everything above this crate knows, and back.
//!
//! ```text
//!   peer, client                       Translator                           core
//!    any dialect  -- event --> detect, look up, convert -- model's event -->
//!                 <-- event --      convert, look up    <-- model's event --
//!                                        ^
//!                              tables: what each release changed (`schema` says how they are read)
//! ```
//!
//! DIFFERENCE(older-releases): a controller and an agent of Zeek understand their own API and records only; a request in another form
//! is dropped without an answer. Zeek 9.0 loses the node states of an agent before 7.0, and an agent of 9.0 the configurations of a
//! controller before 7.0.
//!
//! There is no negotiation: an API version has been 1 from the start. What a peer says gives its dialect away (`detect`).
//!
//! | dialect | modules | nodes | what else is different from the model |
//! |---|---|---|---|
//! | [`Dialect::V4_1`] | `ClusterController`, `ClusterAgent` | 10 fields, a port in third place | as 4.2, without welcome, standing by and time-outs; instances come without a result |
//! | [`Dialect::V4_2`] | the same | the same | one event to stage and deploy, other names of states, other order in results, an address in the hello, no `get_nodes` and all that came later |
//! | [`Dialect::PreSeed`] | the same | 10 fields | as 4.2, with names of states in capitals and with `get_nodes` |
//! | [`Dialect::Seed`] | `Management` | the same | as PreSeed, with today's names |
//! | [`Dialect::V5_0Rc1`] | the same | the same | as Seed, with today's hello, `get_id_value` and `get_configuration` |
//! | [`Dialect::V5_0`] | the same | the same | nodes and their states lack the metrics port |
//! | [`Dialect::V7_0`] | the same | 11 fields | the model |

mod detect;
mod tables;
#[cfg(test)]
mod tests;
mod translator;

use std::{collections::BTreeSet, fmt, str::FromStr};

use broker_codec::{
    Data,
    data::{Address, DataError, DataErrorKind, ZeekString},
    zeek::Event,
};
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value},
};

use crate::schema::{Conversion, Found, Layout, Table, model::MODEL};

pub use translator::{
    Answers, Peer, Published, REQUESTS_MAX, Side, TextTooLong, Topics, Translation, Translator, check_texts,
    sets_configuration,
};

/// An API, named after the first Zeek that has it, in settings, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// Zeek 4.1.
    #[serde(rename = "4.1")]
    V4_1,
    /// Zeek 4.2.
    #[serde(rename = "4.2")]
    V4_2,
    /// Zeek's commit 9efc214d42, the one before it.
    #[serde(rename = "pre-seed")]
    PreSeed,
    /// Zeek's commit 54aaf3a623, which renamed `ClusterController` to `Management::Controller`.
    #[serde(rename = "seed")]
    Seed,
    /// Zeek 5.0.0-rc1.
    #[serde(rename = "5.0.0-rc1")]
    V5_0Rc1,
    /// Zeek 5.0 to 6.2.
    #[serde(rename = "5.0")]
    V5_0,
    /// Zeek 7.0 and later: the model.
    #[default]
    #[serde(rename = "7.0")]
    V7_0,
}

impl Dialect {
    /// All, the oldest first.
    pub const ALL: [Self; 7] = [
        Self::V4_1,
        Self::V4_2,
        Self::PreSeed,
        Self::Seed,
        Self::V5_0Rc1,
        Self::V5_0,
        Self::V7_0,
    ];

    /// The Zeek that has it, in words.
    pub const fn release(self) -> &'static str {
        match self {
            Self::V4_1 => "Zeek 4.1",
            Self::V4_2 => "Zeek 4.2",
            Self::PreSeed => "Zeek's commit 9efc214d42",
            Self::Seed => "Zeek's commit 54aaf3a623",
            Self::V5_0Rc1 => "Zeek 5.0.0-rc1",
            Self::V5_0 => "Zeek 5.0",
            Self::V7_0 => "Zeek 7.0",
        }
    }

    /// Whether it has the modules `ClusterController` and `ClusterAgent`, and their topics.
    pub const fn is_cluster_controller(self) -> bool {
        matches!(self, Self::V4_1 | Self::V4_2 | Self::PreSeed)
    }

    pub(crate) fn table(self) -> &'static Table {
        match self {
            Self::V4_1 => &tables::V4_1,
            Self::V4_2 => &tables::V4_2,
            Self::PreSeed => &tables::PRE_SEED,
            Self::Seed => &tables::SEED,
            Self::V5_0Rc1 => &tables::V5_0_RC1,
            Self::V5_0 => &tables::V5_0,
            Self::V7_0 => &MODEL,
        }
    }

    /// The names of its events, fully qualified. Those that never leave their process are among them.
    pub fn events(self) -> BTreeSet<String> {
        self.table().events()
    }

    /// Whether it has an event of this name.
    pub fn has_event(self, name: &[u8]) -> bool {
        self.table().event(name).is_some()
    }

    /// What an event gives away about the dialect of its sender, if this is what it was thought to be. `None` if nothing.
    pub fn detect(self, event: &Event) -> Option<Self> {
        detect::detect(event, self)
    }

    /// What an event of this dialect holds, each part by its name: `config.nodes[0].name = worker`. Arguments that are not
    /// there, and events that the dialect does not have, are not described.
    pub fn describe(self, event: &Event) -> Vec<String> {
        let found = self.table().event(&event.name);
        found.map_or_else(Vec::new, |found| Layout::from(found).describe(event))
    }

    /// The model's event for one of this dialect.
    fn read(self, event: Event, context: &Context) -> Result<Event, DialectError> {
        if self == Self::V7_0 {
            return Ok(event);
        }
        let found = self.table().event(&event.name);
        let Some((found, name)) = found.and_then(|found| Some((found, found.model_name()?))) else {
            return Err(DialectError {
                dialect: self,
                source: DataError::new(DataErrorKind::UnknownEvent(event.name)),
            });
        };
        Ok(Event {
            name: name.as_str().into(),
            args: self.convert(found, context, |conversion| conversion.read(event.args))?,
            metadata: event.metadata,
        })
    }

    /// The event of this dialect for the model's; none if the dialect has no such event.
    fn write(self, event: &Event, context: &Context) -> Result<Option<Event>, DialectError> {
        if self == Self::V7_0 {
            return Ok(Some(event.clone()));
        }
        let Some(found) = self.table().counterpart(&event.name) else {
            return Ok(None);
        };
        let args = event.args.clone();
        Ok(Some(Event {
            name: found.name().as_str().into(),
            args: self.convert(found, context, |conversion| conversion.write(args))?,
            metadata: event.metadata.clone(),
        }))
    }

    fn convert(
        self,
        found: Found,
        context: &Context,
        convert: impl FnOnce(&mut Conversion<'_>) -> Result<Vec<Data>, DataError>,
    ) -> Result<Vec<Data>, DialectError> {
        convert(&mut Conversion::new(found, &|name| context.known(name))).map_err(|error| DialectError {
            dialect: self,
            source: error.in_field(&found.name()),
        })
    }
}

/// What an event says of its sender in one dialect and leaves to its connection in another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    /// The Broker endpoint ID of the agent.
    agent_id: ZeekString,
    /// Whether the agent connected to the controller, rather than the reverse.
    connecting: bool,
    /// The agent's address, as it would name it itself.
    host: Address,
}

impl Context {
    /// The value of an argument that one of two dialects lacks.
    fn known(&self, argument: &str) -> Data {
        match argument {
            "id" => Data::String(self.agent_id.clone()),
            "connecting" => Data::Boolean(self.connecting),
            "host" => Data::Address(self.host),
            // Zeek's controllers never force a deployment; older ones cannot.
            "force" => Data::Boolean(false),
            // 5.0.0-rc1 has no other configuration.
            "deployed" => Data::Boolean(true),
            _ => Data::None,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The name of a dialect.
impl FromStr for Dialect {
    type Err = DialectParseError;

    fn from_str(name: &str) -> Result<Self, DialectParseError> {
        let named: Result<Self, value::Error> = Self::deserialize(name.into_deserializer());
        named.map_err(|_| DialectParseError)
    }
}

/// No dialect has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the first Zeek with the API: 4.1, 4.2, pre-seed, seed, 5.0.0-rc1, 5.0 or 7.0")]
pub struct DialectParseError;

/// An event cannot be brought from one dialect into another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source} (in the API of {})", .dialect.release())]
pub struct DialectError {
    pub dialect: Dialect,
    /// What is wrong where: the path begins with the event's name in that dialect.
    pub source: DataError,
}
