use std::{collections::BTreeMap, env};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Failure;

/// The environment variable that says how a Supervisor behaves: a [`SupervisorBehaviour`] in JSON.
pub const SUPERVISOR_VARIABLE: &str = "STAND_IN_SUPERVISOR";

/// The environment variable that says how a node behaves: a [`NodeBehaviour`] in JSON. As any other it reaches a node from
/// the Supervisor's environment, or from `env` in the node's configuration.
pub const NODE_VARIABLE: &str = "STAND_IN_NODE";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisorBehaviour {
    /// Which Zeek it is, as in `6.0.9`: decides the layout of records, the metadata of events, and what `--version` prints.
    pub zeek_version: String,
    /// Takes connections and never answers, as a Supervisor of Zeek 8.1 that has not loaded Broker's backend.
    pub deaf: bool,
    /// After this many requests it does nothing any more, though its connections stay.
    pub hang_after: Option<u64>,
    /// Ends by SIGKILL only.
    pub ignores_sigterm: bool,
    /// The nodes that it refuses to create, and with which text.
    pub refuse: BTreeMap<String, String>,
    /// Writes a line of JSON to its standard output when it listens: its `pid`, and `broker`, the addresses.
    pub tells_ready: bool,
}

impl Default for SupervisorBehaviour {
    fn default() -> Self {
        Self {
            zeek_version: "9.0.0".into(),
            deaf: false,
            hang_after: None,
            ignores_sigterm: false,
            refuse: BTreeMap::new(),
            tells_ready: false,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "faults that can be combined at will"
)]
pub struct NodeBehaviour {
    /// What it writes to its standard output at the start.
    pub stdout: Option<String>,
    /// What it writes to its standard error at the start.
    pub stderr: Option<String>,
    /// How much it writes to its standard output at the start, in MiB; and then a hundred lines, which are numbered.
    pub prints: Option<u32>,
    /// Fails, as Zeek does, if its network interface does not exist.
    pub checks_interface: bool,
    /// Ends by itself at once.
    pub exit: Option<Exit>,
    /// How long after its start it ends by itself, in milliseconds, with status 1; if it has no Supervisor.
    pub crashes_after: Option<u64>,
    /// Does nothing, not even say hello.
    pub hangs: bool,
    /// Says hello, and nothing after that, as one in an endless loop of a script; if it has no Supervisor.
    pub mute: bool,
    /// How long after a heartbeat it has the next, in milliseconds, whatever its agent wants; if it has no Supervisor.
    pub heartbeat: Option<u64>,
    /// Ends by SIGKILL only.
    pub ignores_sigterm: bool,
    /// How long it takes to end, in milliseconds; if it has no Supervisor.
    pub ends_after: Option<u64>,
    /// Lives on when its Supervisor is killed. Zeek's nodes do, for up to 26 seconds.
    pub outlives_supervisor: bool,
    /// Writes to its standard output without a pause, once it has said hello.
    pub floods_output: bool,
    /// Says hello to its agent again and again, without a pause.
    pub floods_agent: bool,
    /// Listens where Zeek would, if it has no Supervisor.
    pub listens: bool,
    /// Starts a process of its own, which holds the node's output open and lives this many seconds, also when
    /// the node has ended.
    pub forks: Option<u64>,
}

/// How a node ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    #[serde(default)]
    pub status: u8,
    /// Whether it is killed by SIGABRT instead, as by an internal error of Zeek.
    #[serde(default)]
    pub aborts: bool,
}

/// Reads what one of the variables says.
pub(crate) fn of_environment<T: DeserializeOwned + Default>(variable: &'static str) -> Result<T, Failure> {
    match env::var_os(variable) {
        None => Ok(T::default()),
        Some(text) => serde_json::from_slice(text.as_encoded_bytes())
            .map_err(|source| Failure::Behaviour { variable, source }),
    }
}
