use std::fmt;

use broker_codec::{
    Data,
    data::{DataError, Protocol, ZeekString},
    zeek::Event,
};
use serde::{Deserialize, Serialize};

use super::{SupervisorResponse, SupervisorStatus};
use crate::schema::{Conversion, SAME, Table, Type, model::SUPERVISOR, must};

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

const ENDPOINT_OF_4: (&str, &str) = ("ClusterEndpoint", "role host p interface");
const ENDPOINT_OF_5: (&str, &str) = ("ClusterEndpoint", "role host p interface pcap_file");
const OLD: Table = Table {
    before: Some(&SUPERVISOR),
    fields: &[
        ("NodeConfig", must("scripts", Type::Unused)),
        ("ClusterEndpoint", must("p", Type::PortByNumber)),
    ],
    ..SAME
};

/// Its `scripts` became `addl_user_scripts`.
static V5_0: Table = Table {
    records: &[
        (
            "NodeConfig",
            "name interface directory stdout_file stderr_file bare_mode addl_user_scripts env cpu_affinity cluster",
        ),
        ENDPOINT_OF_4,
    ],
    ..OLD
};
static V5_1: Table = Table {
    records: &[
        (
            "NodeConfig",
            "name interface directory stdout_file stderr_file bare_mode addl_base_scripts addl_user_scripts scripts env \
             cpu_affinity cluster",
        ),
        ENDPOINT_OF_4,
    ],
    ..OLD
};
static V6_0: Table = Table {
    records: &[
        (
            "NodeConfig",
            "name interface pcap_file directory stdout_file stderr_file bare_mode addl_base_scripts addl_user_scripts \
             scripts env cpu_affinity cluster",
        ),
        ENDPOINT_OF_5,
    ],
    ..OLD
};
static V6_1: Table = Table {
    records: &[ENDPOINT_OF_5],
    ..OLD
};

const STATUS_RESPONSE: &str = "SupervisorControl::status_response";

/// The field that older Zeeks lack and can do without: they have no metrics to offer.
const METRICS_PORT: &str = "metrics_port";

/// The release that a Zeek is of, by what `zeek --version` prints: 6 and 0 for `zeek version 6.0.9`.
pub fn release(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.trim().rsplit_once("version ")?;
    let mut numbers = version.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let minor = minor.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major, minor.parse().ok()?))
}

impl SupervisorLayout {
    /// All, the oldest first.
    pub const ALL: [Self; 5] = [Self::V5_0, Self::V5_1, Self::V6_0, Self::V6_1, Self::V7_0];

    pub(crate) fn table(self) -> &'static Table {
        match self {
            Self::V5_0 => &V5_0,
            Self::V5_1 => &V5_1,
            Self::V6_0 => &V6_0,
            Self::V6_1 => &V6_1,
            Self::V7_0 => &SUPERVISOR,
        }
    }

    /// The layout of a Zeek, by what `zeek --version` prints: `zeek version 6.0.9`. `None` for text that names no
    /// version and for versions whose layout is not known.
    pub fn of_version(text: &str) -> Option<Self> {
        match release(text)? {
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
        let admits = |layout: &Self| {
            let found = layout.table().event(&response.name);
            found.is_some_and(|found| found.admits(&response.args))
        };
        let admitting: Vec<Self> = Self::ALL.into_iter().filter(admits).collect();
        match admitting.last() {
            None => Err(LayoutError::Unknown),
            // Only a status without nodes is the same in all.
            Some(_) if admitting.len() == Self::ALL.len() => Ok(None),
            Some(latest) => Ok(Some(*latest)),
        }
    }

    /// An event in this layout.
    ///
    /// # Errors
    ///
    /// If a field is set that the layout does not have.
    pub fn write(self, event: Event) -> Result<Event, LayoutError> {
        self.convert(event, Conversion::write)
    }

    /// A response of a Supervisor with this layout, in the current one. Requests, which others make of it, stay as they are.
    ///
    /// # Errors
    ///
    /// If it is not in this layout.
    pub fn read_response(self, event: Event) -> Result<Event, LayoutError> {
        if event.name == STATUS_RESPONSE {
            self.read(event)
        } else {
            Ok(event)
        }
    }

    /// An event in this layout, in the current one.
    ///
    /// # Errors
    ///
    /// If it is not in this layout. A Zeek drops such a request without a word.
    pub fn read(self, event: Event) -> Result<Event, LayoutError> {
        self.convert(event, Conversion::read)
    }

    /// A status as the Supervisor itself gives it: before Zeek 7.0 it keeps the number of a port only, and reports all of them as TCP.
    ///
    /// # Errors
    ///
    /// If a field is set that the layout does not have.
    pub fn write_status(self, reqid: ZeekString, mut result: SupervisorStatus) -> Result<Event, LayoutError> {
        let configs = result.nodes.values_mut().map(|node| &mut node.node);
        for endpoint in configs.flat_map(|config| config.cluster.values_mut()) {
            if self < Self::V7_0 {
                endpoint.p.protocol = Protocol::Tcp;
            }
        }
        let response = Event::of(&SupervisorResponse::Status { reqid, result });
        self.write(response.map_err(|source| self.fault(source))?)
    }

    /// Events that the Supervisor's API does not have stay as they are.
    fn convert(
        self,
        mut event: Event,
        convert: fn(&mut Conversion<'static>, Vec<Data>) -> Result<Vec<Data>, DataError>,
    ) -> Result<Event, LayoutError> {
        let Some(found) = self.table().event(&event.name) else {
            return Ok(event);
        };
        let mut conversion = Conversion::new(found, &|_| Data::None);
        event.args = convert(&mut conversion, event.args).map_err(|source| self.fault(source))?;
        match conversion.lost.into_iter().find(|field| *field != METRICS_PORT) {
            Some(field) => Err(LayoutError::NotExpressible { field, layout: self }),
            None => Ok(event),
        }
    }

    const fn fault(self, source: DataError) -> LayoutError {
        LayoutError::Record { source, layout: self }
    }
}

impl fmt::Display for SupervisorLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A value cannot be brought from one layout into another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No Zeek that is known has such records.
    #[error("the records of a Supervisor's nodes are in the layout of no known Zeek")]
    Unknown,
    /// A record is not in the layout.
    #[error("{source} (in the layout of Zeek {layout})")]
    Record {
        /// What is wrong where.
        source: DataError,
        layout: SupervisorLayout,
    },
    /// A field is set that Zeeks with this layout do not have.
    #[error("the Supervisor is of Zeek {layout}, which has no {field}")]
    NotExpressible {
        field: &'static str,
        layout: SupervisorLayout,
    },
}
