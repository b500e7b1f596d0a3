//! The command line.

use std::{convert::Infallible, ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use mgmt_daemon::config::{HostArgs, Listener};

use crate::{config::PeerOption, simulate};

/// Drop-in replacement for the agent of Zeek's Management framework.
///
/// Without a subcommand, and with `run`, the agent starts. Settings come from options on the command line, then
/// `Module::name=value` arguments, then `--redefs` files, then the environment variables of Zeek's agent, then defaults.
/// They may stand before a subcommand or after it.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true
)]
pub struct Cli {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of a run.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the agent and stay in the foreground (the default)
    Run(SettingArgs),
    /// Read the whole configuration, try what it names, report what is wrong, and exit with 0 or 1
    CheckConfig(SettingArgs),
    /// Print each effective setting and where it came from
    DumpConfig {
        /// The settings to print.
        #[command(flatten)]
        settings: SettingArgs,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Run a journal of `--journal` again, and print each input and what the agent wants done about it
    Replay {
        /// The journal.
        file: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff, or that of a subcommand
    Man {
        /// The subcommand.
        subcommand: Option<String>,
    },
    /// Take the place of Zeek in a simulation
    #[command(name = simulate::SUBCOMMAND, hide = true)]
    SimulatedZeek {
        /// Zeek's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Everything that can be set on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingArgs {
    /// What every daemon of the framework takes.
    #[command(flatten)]
    pub host: HostArgs,
    /// This agent's name [Zeek: `Management::Agent::name`]
    #[arg(long)]
    pub name: Option<String>,
    /// Where nodes connect, and the controller if we do not connect to it: an address, the name of an interface, or the name of a
    /// host [Zeek: `listen_address`, `listen_port`]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<Listener>,
    /// The controller to connect to, or `off` to be connected to [Zeek: `Management::Agent::controller`]
    #[arg(long, value_name = "HOST:PORT")]
    pub controller: Option<PeerOption>,
    /// Where the Supervisor, a `zeek -j` process, listens [Zeek: `Broker::default_listen_address`, `default_port`]
    #[arg(long, value_name = "HOST:PORT")]
    pub supervisor: Option<String>,
    /// Which Zeek the Supervisor is, as in 6.0.9; counts if neither it nor `zeek --version` tells
    #[arg(long, value_name = "VERSION")]
    pub zeek_version: Option<String>,
    /// Start the Supervisor, keep it running, and end it at the end
    #[arg(long)]
    pub start_supervisor: bool,
    /// How long a Supervisor that we have started may leave all questions unanswered before it is ended and started again; 0sec for
    /// ever [default: 60sec]
    #[arg(long, value_name = "INTERVAL", requires = "start_supervisor")]
    pub supervisor_patience: Option<String>,
    /// How long a deployment may take under a controller of this project, which waits for 18 seconds [default: 15sec, or
    /// `Management::Request::timeout_interval`]
    #[arg(long, value_name = "INTERVAL")]
    pub deployment_timeout: Option<String>,
    /// How long a deployment may take under Zeek's controller, which waits for 10 seconds [default: 8sec, or
    /// `Management::Request::timeout_interval`]
    #[arg(long, value_name = "INTERVAL")]
    pub zeek_deployment_timeout: Option<String>,
    /// Run no Zeek but stand-ins for its Supervisor and nodes, to see a cluster where there is no Zeek. They analyse no
    /// traffic
    #[arg(long, conflicts_with = "start_supervisor")]
    pub simulate: bool,
    /// A further argument for the Supervisor and all nodes, such as `local` or `Module::name=value`; may be repeated
    #[arg(
        long,
        value_name = "ARGUMENT",
        requires = "start_supervisor",
        allow_hyphen_values = true
    )]
    pub zeek_argument: Vec<String>,
    /// What the controller speaks, as long as it has said nothing: `seed` if it is of Zeek's commit 54aaf3a623
    #[arg(long, value_name = "ZEEK")]
    pub controller_api: Option<String>,
    /// Of 0.1.0
    #[arg(long, hide = true, value_parser = replaced)]
    peer_api: Option<Infallible>,
    /// The script that makes a Zeek process a managed node; Zeek's own if it has one, else one of ours
    #[arg(long, value_name = "SCRIPT")]
    pub node_script: Option<String>,
}

fn replaced(_: &str) -> Result<Infallible, &'static str> {
    Err("it is called --controller-api now, and says nothing about nodes")
}

impl SettingArgs {
    /// Whether the Supervisor is for us to start, real or not.
    pub(crate) const fn starts_supervisor(&self) -> bool {
        self.start_supervisor || self.simulate
    }
}
