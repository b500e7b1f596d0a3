//! An API by itself: its events, and one event of it for one of the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::LazyLock,
};

use broker_codec::{
    Data,
    data::{Address, DataError, DataErrorKind, ZeekString},
    zeek::Event,
};
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value},
};

use super::{detect::detect, tables};
use crate::schema::{Conversion, Found, Layout, Table, model::MODEL};

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

/// The events of each dialect, by name: each message that comes is looked up.
static EVENTS: LazyLock<BTreeMap<Dialect, BTreeMap<String, Found>>> = LazyLock::new(|| {
    Dialect::ALL
        .map(|dialect| (dialect, dialect.table().events()))
        .into()
});

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

    /// Its event of this name.
    pub(super) fn event(self, name: &[u8]) -> Option<Found> {
        EVENTS.get(&self)?.get(str::from_utf8(name).ok()?).copied()
    }

    /// The names of its events, fully qualified. Those that never leave their process are among them.
    pub fn events(self) -> BTreeSet<String> {
        EVENTS
            .get(&self)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect()
    }

    /// Whether it has an event of this name.
    pub fn has_event(self, name: &[u8]) -> bool {
        self.event(name).is_some()
    }

    /// What an event gives away about the dialect of its sender, if this is what it was thought to be. `None` if nothing.
    pub fn detect(self, event: &Event) -> Option<Self> {
        detect(event, self)
    }

    /// What an event of this dialect holds, each part by its name: `config.nodes[0].name = worker`. Arguments that are not
    /// there, and events that the dialect does not have, are not described.
    pub fn describe(self, event: &Event) -> Vec<String> {
        let found = self.event(&event.name);
        found.map_or_else(Vec::new, |found| Layout::from(found).describe(event))
    }

    /// The model's event for one of this dialect.
    pub(super) fn read(self, event: Event, context: &Context) -> Result<Event, DialectError> {
        if self == Self::V7_0 {
            return Ok(event);
        }
        let found = self.event(&event.name);
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
    pub(super) fn write(self, event: &Event, context: &Context) -> Result<Option<Event>, DialectError> {
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
pub(super) struct Context {
    /// The Broker endpoint ID of the agent.
    pub(super) agent_id: ZeekString,
    /// Whether the agent connected to the controller, rather than the reverse.
    pub(super) connecting: bool,
    /// The agent's address, as it would name it itself.
    pub(super) host: Address,
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
