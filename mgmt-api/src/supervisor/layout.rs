use std::{fmt, str::FromStr};

use broker_codec::{
    Data,
    data::{Kind, Protocol, Table},
    zeek::Event,
};
use serde::{Deserialize, Serialize};

/// Which fields the Supervisor's records have, and in which order. Named after the first Zeek that has it.
///
/// Records travel as lists without field names. A Supervisor that gets a list in another layout than its own drops the
/// request, or takes one field for another; it never says so. Surplus elements at the end of a record are ignored by
/// every Zeek (`src/broker/Data.cc`), missing ones are not forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SupervisorLayout {
    /// Zeek 4.1 to 5.0.
    #[serde(rename = "5.0")]
    V5_0,
    /// Zeek 5.1 and 5.2.
    #[serde(rename = "5.1")]
    V5_1,
    /// Zeek 6.0.
    #[serde(rename = "6.0")]
    V6_0,
    /// Zeek 6.1 and 6.2.
    #[serde(rename = "6.1")]
    V6_1,
    /// Zeek 7.0 to 9.0: the layout of [`super::NodeConfig`] and [`super::ClusterEndpoint`].
    #[serde(rename = "7.0")]
    V7_0,
}

/// A field of a `NodeConfig` in some layout: where its value is in [`CURRENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// Neither list nor table.
    Scalar(usize),
    /// A list of scripts.
    Scripts(usize),
    /// A table.
    Table(usize),
    /// The deprecated list `scripts`, which has no counterpart: written empty, not read.
    Deprecated,
}

impl Field {
    /// Whether a value can stand here. Lists and tables tell layouts apart; what the other fields hold is checked when
    /// the record is read.
    fn admits(self, value: &Data) -> bool {
        match self {
            Self::Scalar(_) => !matches!(value, Data::Vector(_) | Data::Table(_)),
            Self::Scripts(_) | Self::Deprecated => value.kind() == Kind::Vector,
            Self::Table(_) => value.kind() == Kind::Table,
        }
    }

    const fn current(self) -> Option<usize> {
        match self {
            Self::Scalar(index) | Self::Scripts(index) | Self::Table(index) => Some(index),
            Self::Deprecated => None,
        }
    }
}

const NAME: Field = Field::Scalar(0);
const INTERFACE: Field = Field::Scalar(1);
const PCAP_FILE: Field = Field::Scalar(2);
const DIRECTORY: Field = Field::Scalar(3);
const STDOUT_FILE: Field = Field::Scalar(4);
const STDERR_FILE: Field = Field::Scalar(5);
const BARE_MODE: Field = Field::Scalar(6);
const ADDL_BASE_SCRIPTS: Field = Field::Scripts(7);
const ADDL_USER_SCRIPTS: Field = Field::Scripts(8);
const ENV: Field = Field::Table(9);
const CPU_AFFINITY: Field = Field::Scalar(10);
const SCRIPTS: Field = Field::Deprecated;
const CLUSTER: Field = Field::Table(11);

/// `NodeConfig` of Zeek 7.0.
const CURRENT: &[Field] = &[
    NAME,
    INTERFACE,
    PCAP_FILE,
    DIRECTORY,
    STDOUT_FILE,
    STDERR_FILE,
    BARE_MODE,
    ADDL_BASE_SCRIPTS,
    ADDL_USER_SCRIPTS,
    ENV,
    CPU_AFFINITY,
    CLUSTER,
];

/// The names of the fields of [`CURRENT`].
const CURRENT_NAMES: &[&str] = &[
    "name",
    "interface",
    "pcap_file",
    "directory",
    "stdout_file",
    "stderr_file",
    "bare_mode",
    "addl_base_scripts",
    "addl_user_scripts",
    "env",
    "cpu_affinity",
    "cluster",
];

/// The `ClusterEndpoint` of Zeek 7.0 is the older ones with fields added at the end.
const ENDPOINT_NAMES: &[&str] = &["role", "host", "p", "interface", "pcap_file", "metrics_port"];

pub(super) const CREATE_REQUEST: &str = "SupervisorControl::create_request";
pub(super) const STATUS_RESPONSE: &str = "SupervisorControl::status_response";

/// Where the port stands in a `ClusterEndpoint`.
pub(super) const ENDPOINT_PORT: usize = 2;

/// The field that older Zeeks lack and can do without: they have no metrics to offer.
const METRICS_PORT: usize = 5;

impl SupervisorLayout {
    /// All, the oldest first.
    pub const ALL: [Self; 5] = [Self::V5_0, Self::V5_1, Self::V6_0, Self::V6_1, Self::V7_0];

    /// The first Zeek that has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V5_0 => "5.0",
            Self::V5_1 => "5.1",
            Self::V6_0 => "6.0",
            Self::V6_1 => "6.1",
            Self::V7_0 => "7.0",
        }
    }

    const fn node_config(self) -> &'static [Field] {
        match self {
            // Its `scripts` became `addl_user_scripts`.
            Self::V5_0 => &[
                NAME,
                INTERFACE,
                DIRECTORY,
                STDOUT_FILE,
                STDERR_FILE,
                BARE_MODE,
                ADDL_USER_SCRIPTS,
                ENV,
                CPU_AFFINITY,
                CLUSTER,
            ],
            Self::V5_1 => &[
                NAME,
                INTERFACE,
                DIRECTORY,
                STDOUT_FILE,
                STDERR_FILE,
                BARE_MODE,
                ADDL_BASE_SCRIPTS,
                ADDL_USER_SCRIPTS,
                SCRIPTS,
                ENV,
                CPU_AFFINITY,
                CLUSTER,
            ],
            Self::V6_0 => &[
                NAME,
                INTERFACE,
                PCAP_FILE,
                DIRECTORY,
                STDOUT_FILE,
                STDERR_FILE,
                BARE_MODE,
                ADDL_BASE_SCRIPTS,
                ADDL_USER_SCRIPTS,
                SCRIPTS,
                ENV,
                CPU_AFFINITY,
                CLUSTER,
            ],
            Self::V6_1 | Self::V7_0 => CURRENT,
        }
    }

    /// How many fields a `ClusterEndpoint` has.
    const fn endpoint_len(self) -> usize {
        match self {
            Self::V5_0 | Self::V5_1 => 4,
            Self::V6_0 | Self::V6_1 => 5,
            Self::V7_0 => 6,
        }
    }

    /// The layout of a Zeek, by what `zeek --version` prints: `zeek version 6.0.9`. `None` for text that names no
    /// version and for versions whose layout is not known.
    pub fn of_version(text: &str) -> Option<Self> {
        let (_, version) = text.trim().rsplit_once("version ")?;
        let mut numbers = version.split('.');
        let major: u32 = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?;
        let minor = minor.split(|c: char| !c.is_ascii_digit()).next()?;
        match (major, minor.parse::<u32>().ok()?) {
            (4, 1..) | (5, 0) => Some(Self::V5_0),
            (5, _) => Some(Self::V5_1),
            (6, 0) => Some(Self::V6_0),
            (6, _) => Some(Self::V6_1),
            (7..=9, _) => Some(Self::V7_0),
            _ => None,
        }
    }

    /// The layout of the Supervisor that sent this `SupervisorControl::status_response`, if that tells: it has no
    /// nodes when it was just started.
    ///
    /// Zeek 6.1 and 7.0 differ in `ClusterEndpoint` only. Where no node has a cluster the answer is the later one,
    /// which Zeek 6.1 and 6.2 read as well: they ignore the surplus element.
    pub fn of_status(response: &Event) -> Result<Option<Self>, LayoutError> {
        if response.name != STATUS_RESPONSE {
            return Ok(None);
        }
        let mut candidates = Self::ALL.to_vec();
        let mut seen = false;
        for_each_node(&response.args, |config| {
            seen = true;
            candidates.retain(|layout| layout.has(config));
            if candidates.is_empty() {
                Err(LayoutError::Unknown {
                    elements: config.len(),
                })
            } else {
                Ok(())
            }
        })?;
        Ok(if seen { candidates.pop() } else { None })
    }

    /// Whether a `NodeConfig` is in this layout.
    fn has(self, config: &[Data]) -> bool {
        let fields = self.node_config();
        if config.len() != fields.len()
            || !fields
                .iter()
                .zip(config)
                .all(|(field, value)| field.admits(value))
        {
            return false;
        }
        let Some(Data::Table(cluster)) = config.last() else {
            return false;
        };
        cluster.iter().all(
            |(_, endpoint)| matches!(endpoint, Data::Vector(fields) if fields.len() == self.endpoint_len()),
        )
    }

    /// A request in this layout. Only `SupervisorControl::create_request` has a record in it.
    pub fn request(self, mut event: Event) -> Result<Event, LayoutError> {
        if event.name == CREATE_REQUEST
            && let [_, config] = &mut *event.args
        {
            let Data::Vector(current) = config else {
                return Err(LayoutError::NotARecord(config.kind()));
            };
            *config = self.node_config_from_current(std::mem::take(current))?;
        }
        Ok(event)
    }

    /// A response of a Supervisor with this layout, in the current one. Only `SupervisorControl::status_response` has
    /// records in it.
    pub fn response(self, mut event: Event) -> Result<Event, LayoutError> {
        if event.name == STATUS_RESPONSE
            && self != Self::V7_0
            && let Some(status) = event.args.get_mut(1)
        {
            *status = self.status_to_current(std::mem::take(status))?;
        }
        Ok(event)
    }

    pub(super) fn node_config_from_current(self, current: Vec<Data>) -> Result<Data, LayoutError> {
        let mut current: Vec<Option<Data>> = current.into_iter().map(Some).collect();
        current.resize(CURRENT.len(), None);
        let mut config = Vec::with_capacity(self.node_config().len());
        for field in self.node_config() {
            config.push(match field.current() {
                Some(index) => current.get_mut(index).and_then(Option::take).unwrap_or_default(),
                None => Data::Vector(Vec::new()),
            });
        }
        for (value, name) in current.iter().zip(CURRENT_NAMES) {
            if value.as_ref().is_some_and(|value| !is_empty(value)) {
                return Err(LayoutError::NotExpressible {
                    field: name,
                    layout: self,
                });
            }
        }
        if let Some(Data::Table(cluster)) = config.last_mut() {
            *cluster = convert_values(std::mem::take(cluster), |endpoint| {
                self.endpoint_from_current(endpoint)
            })?;
        }
        Ok(Data::Vector(config))
    }

    fn endpoint_from_current(self, endpoint: Data) -> Result<Data, LayoutError> {
        let mut fields = elements(endpoint)?;
        let surplus = fields.split_off(self.endpoint_len().min(fields.len()));
        for (value, index) in surplus.iter().zip(self.endpoint_len()..) {
            if index != METRICS_PORT && !is_empty(value) {
                return Err(LayoutError::NotExpressible {
                    field: ENDPOINT_NAMES.get(index).copied().unwrap_or("?"),
                    layout: self,
                });
            }
        }
        Ok(Data::Vector(fields))
    }

    fn status_to_current(self, status: Data) -> Result<Data, LayoutError> {
        let mut status = elements(status)?;
        if let Some(Data::Table(nodes)) = status.first_mut() {
            *nodes = convert_values(std::mem::take(nodes), |node| {
                let mut node = elements(node)?;
                if let Some(config) = node.first_mut() {
                    *config = self.node_config_to_current(std::mem::take(config))?;
                }
                Ok(Data::Vector(node))
            })?;
        }
        Ok(Data::Vector(status))
    }

    pub(super) fn node_config_to_current(self, config: Data) -> Result<Data, LayoutError> {
        let config = elements(config)?;
        let fields = self.node_config();
        if config.len() < fields.len() {
            return Err(LayoutError::TooShort {
                elements: config.len(),
                expected: fields.len(),
                layout: self,
            });
        }
        let mut current = vec![Data::None; CURRENT.len()];
        for (field, value) in fields.iter().zip(config) {
            if let Some(place) = field.current().and_then(|index| current.get_mut(index)) {
                *place = value;
            }
        }
        if let Some(Data::Table(cluster)) = current.last_mut() {
            *cluster = convert_values(std::mem::take(cluster), |endpoint| {
                self.endpoint_to_current(endpoint)
            })?;
        }
        Ok(Data::Vector(current))
    }

    /// Before Zeek 7.0 the Supervisor keeps only the number of a port and says `tcp` for all of them, so that
    /// `0/unknown` comes back as `0/tcp`.
    fn endpoint_to_current(self, endpoint: Data) -> Result<Data, LayoutError> {
        let mut fields = elements(endpoint)?;
        fields.truncate(self.endpoint_len());
        if self < Self::V7_0
            && let Some(Data::Port(port)) = fields.get_mut(ENDPOINT_PORT)
            && port.number == 0
        {
            port.protocol = Protocol::Unknown;
        }
        Ok(Data::Vector(fields))
    }
}

impl fmt::Display for SupervisorLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name of a layout: `5.0`, `5.1`, `6.0`, `6.1` or `7.0`.
impl FromStr for SupervisorLayout {
    type Err = LayoutParseError;

    fn from_str(name: &str) -> Result<Self, LayoutParseError> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.name() == name)
            .ok_or(LayoutParseError)
    }
}

/// No layout has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the first Zeek with the layout: 5.0, 5.1, 6.0, 6.1 or 7.0")]
pub struct LayoutParseError;

/// A value cannot be brought from one layout into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No Zeek that is known has such a record.
    #[error("a NodeConfig of {elements} elements in this order is of no known Zeek")]
    Unknown {
        /// How many it has.
        elements: usize,
    },
    /// The record ends too early.
    #[error("expected a NodeConfig of {expected} elements as in Zeek {layout}, found {elements}")]
    TooShort {
        /// How many it has.
        elements: usize,
        /// How many it should have.
        expected: usize,
        /// In which layout.
        layout: SupervisorLayout,
    },
    /// Something else stands where a record is expected.
    #[error("expected a record, found {0}")]
    NotARecord(Kind),
    /// A field is set that Zeeks with this layout do not have.
    #[error("the Supervisor is of Zeek {layout}, which has no {field}")]
    NotExpressible {
        /// The field.
        field: &'static str,
        /// The layout.
        layout: SupervisorLayout,
    },
}

/// The `NodeConfig` records of a status response.
fn for_each_node(
    args: &[Data],
    mut visit: impl FnMut(&[Data]) -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    let Some(Data::Vector(status)) = args.get(1) else {
        return Ok(());
    };
    let Some(Data::Table(nodes)) = status.first() else {
        return Ok(());
    };
    for (_, node) in nodes {
        if let Data::Vector(node) = node
            && let Some(Data::Vector(config)) = node.first()
        {
            visit(config)?;
        }
    }
    Ok(())
}

pub(super) fn elements(record: Data) -> Result<Vec<Data>, LayoutError> {
    match record {
        Data::Vector(elements) => Ok(elements),
        other => Err(LayoutError::NotARecord(other.kind())),
    }
}

/// The same keys with other values.
pub(super) fn convert_values(
    table: Table,
    convert: impl Fn(Data) -> Result<Data, LayoutError>,
) -> Result<Table, LayoutError> {
    let entries: Result<Vec<_>, _> = table
        .into_iter()
        .map(|(key, value)| Ok((key, convert(value)?)))
        .collect();
    Ok(Table::try_from(entries?).expect("the keys are those of a table"))
}

fn is_empty(value: &Data) -> bool {
    match value {
        Data::None => true,
        Data::Vector(elements) => elements.is_empty(),
        Data::Table(table) => table.is_empty(),
        _ => false,
    }
}
