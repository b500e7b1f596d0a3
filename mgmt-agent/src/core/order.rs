//! The seam between our own supervision, which decides, and what starts and ends processes for it: systemd, or the agent itself.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use broker_codec::data::ZeekString;
use mgmt_api::{NodeOutputs, backend};
use serde::{Deserialize, Serialize};

use super::supervision::NodeSpec;

/// What is to be done. Nothing of it is waited for: what becomes of it is [`News`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Find the nodes that run, as an earlier agent has started them. Comes after each [`News::Available`]. Ends in [`News::Looked`], after
    /// a [`News::Found`] for each.
    Look,
    /// Write the launch down and start the node. Ends in [`News::Started`], [`News::Lacks`] or [`News::NotStarted`].
    Start { launch: Box<Launch> },
    /// Write down what the node is to be started with next time, which runs already.
    Rewrite { launch: Box<Launch> },
    /// Ask the node's process to end: SIGTERM. Its end is [`News::Ended`].
    Terminate { node: ZeekString },
    /// Have all of the node's processes end: SIGKILL. Likewise.
    Kill { node: ZeekString },
    /// Forget a node that does not run: it is found no more.
    Forget { node: ZeekString },
}

/// What happens to nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// A node of an earlier agent runs.
    Found {
        launch: Box<Launch>,
        pid: i64,
        /// How long it has run.
        age: Duration,
    },
    /// All that there were have been found.
    Looked,
    /// The node's process was started.
    Started { node: ZeekString, pid: i64 },
    /// The node was not started, as its host lacks something for now: `interface eth9 is not there`. Nothing has run.
    Lacks { node: ZeekString, what: String },
    /// The node was not started, and would not be if it was tried again at once.
    NotStarted { node: ZeekString, reason: String },
    /// The node's process has ended, and all that it had started.
    Ended {
        node: ZeekString,
        pid: i64,
        end: End,
        /// The last lines of what it wrote since it was started.
        outputs: NodeOutputs,
    },
    /// What the installed Zeek says that it is, if it does: the answer to [`Action::AskVersion`](super::Action::AskVersion).
    Version(Option<String>),
    /// An administrator has started or stopped the node by other means, as `systemctl stop`.
    Administered { node: ZeekString, runs: bool },
    /// What starts and ends processes cannot be reached, for this reason: of no node is known whether it runs.
    Unavailable { reason: String },
    /// It can be reached. Comes first, and again after [`News::Unavailable`]. Which nodes run is told when it is asked ([`Order::Look`]).
    Available,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// By itself, with this exit code.
    Exit(i32),
    Signal {
        number: i32,
        dumped_core: bool,
    },
    /// The system does not tell: it was no child of this agent's.
    Unknown,
}

/// What a node is started with: the content of `node.json` in its directory, which the launcher obeys ([`crate::launcher`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// What it was made of, for comparison with what is to run.
    pub spec: NodeSpec,
    /// The agent that keeps it. Another one on the host leaves it alone.
    pub agent: ZeekString,
    /// What the node must show when it says hello. Only node and agent know it.
    pub token: ZeekString,
    /// Zeek, with its whole path.
    pub program: ZeekString,
    pub arguments: Vec<ZeekString>,
    /// All of its environment.
    pub environment: BTreeMap<ZeekString, ZeekString>,
    /// The content of `cluster-layout.zeek`, which the launcher writes into the node's directory.
    pub layout: Arc<str>,
    /// A command that the launcher runs before, by `sh -c`, in the node's directory and environment.
    pub before_start: Option<ZeekString>,
    pub limits: Limits,
    pub needs: Needs,
}

/// What the system is to hold the node to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The CPUs that it may run on; none: any.
    pub cpus: Vec<u32>,
    /// From -20 to 19.
    pub nice: Option<i32>,
    /// In bytes.
    pub memory_max: Option<u64>,
    /// How many files it may have open: LimitNOFILE.
    pub open_files: Option<u64>,
    /// As `numactl` has it: `preferred:0`, `bind:0-1`, `interleave:all`, `local`.
    pub numa: Option<String>,
}

/// What has to be there before the node can be started. While it is not, the node waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// A network interface, by the name that the system has for it.
    pub interface: Option<ZeekString>,
    /// Where it will listen.
    pub listeners: Vec<std::net::SocketAddr>,
}

/// The option for a trace that is read instead of an interface.
pub(crate) const PCAP_FILE: &str = "mgmt.pcap_file";

/// Where Zeek's scripts for the backend are.
pub(crate) const ZEROMQ: &str = "policy/frameworks/cluster/backend/zeromq";

impl Launch {
    pub const fn node(&self) -> &ZeekString {
        &self.spec.name
    }

    /// Has what is the same for all nodes of a cluster once in memory.
    pub fn share_with(&mut self, other: &Self) {
        if self.spec.cluster == other.spec.cluster {
            self.spec.cluster = Arc::clone(&other.spec.cluster);
        }
        if self.layout == other.layout {
            self.layout = Arc::clone(&other.layout);
        }
    }

    /// Whether the cluster's nodes meet over ZeroMQ.
    pub fn is_zeromq(&self) -> bool {
        self.arguments
            .iter()
            .any(|argument| argument.starts_with(ZEROMQ.as_bytes()))
    }

    /// By what they talk, as the manager's option [`CLUSTER_BACKEND`](mgmt_api::CLUSTER_BACKEND) says it.
    pub fn backend(&self) -> &'static str {
        if self.is_zeromq() {
            backend::ZEROMQ
        } else {
            backend::BROKER
        }
    }

    /// Whether it reads a trace file, and has done its work when that is read.
    pub fn is_of_trace(&self) -> bool {
        self.arguments.iter().any(|argument| *argument == "-r")
    }
}

impl End {
    /// Whether it ended as one that has done its work.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exit(0))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit status {code}"),
            Self::Signal { number, dumped_core } => {
                let core = if *dumped_core { ", core dumped" } else { "" };
                write!(f, "{}{core}", signal(*number))
            }
            Self::Unknown => f.write_str("cause unknown"),
        }
    }
}

/// A signal with its name (`signal(7)`), which is the same on all of Linux for those that end Zeek.
pub(crate) fn signal(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    format!("signal {number} ({name})")
}
