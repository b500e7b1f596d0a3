//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Listener, LogFormat};

/// Drop-in replacement for the cluster controller of Zeek's Management framework.
///
/// Without a subcommand, and with `run`, the controller starts. Settings come from the command line, then the
/// environment variables of Zeek's controller, then defaults.
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
    /// Start the controller and stay in the foreground (the default)
    Run(SettingArgs),
    /// Read the whole configuration, report what is wrong with it, and exit with 0 or 1
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
    /// Run a journal of `--journal` again, and print each input and what the controller wants done about it
    Replay {
        /// The journal.
        file: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff
    Man,
}

/// Everything that can be set on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingArgs {
    /// A Zeek setting by its own name, such as `Management::Controller::default_port=2150/tcp`
    #[arg(value_name = "MODULE::NAME=VALUE")]
    pub assignments: Vec<String>,
    /// Read `redef NAME = VALUE;` statements from a Zeek script; may be repeated; `@load` is not followed
    #[arg(long, value_name = "FILE")]
    pub redefs: Vec<PathBuf>,
    /// This controller's name [Zeek: `Management::Controller::name`]
    #[arg(long)]
    pub name: Option<String>,
    /// Where to serve zeek-client, or `off` [Zeek: `listen_address_websocket`, `listen_port_websocket`]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub websocket_listen: Option<Listener>,
    /// Where to serve agents over Broker, or `off` [Zeek: `listen_address`, `listen_port`]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<Listener>,
    /// Where Zeek's processes keep state; ours is below `nodes/<name>` [Zeek: `Management::state_dir`]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Where rotated logs go, into `log-queue` [Zeek: `Management::spool_dir`]
    #[arg(long, value_name = "DIR")]
    pub spool_dir: Option<String>,
    /// Where Zeek is installed, for the default state and spool directories
    #[arg(long, value_name = "DIR")]
    pub zeek_prefix: Option<PathBuf>,
    /// The name that ps, pgrep and netstat show, such as `zeek.controller`; at most 15 bytes
    #[arg(long, value_name = "NAME")]
    pub process_name: Option<String>,
    /// What to log on standard error: a level, or directives as in `RUST_LOG`, which this overrides
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How to log on standard error
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Write a JSON file with the process id and the addresses once the controller listens
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Record everything that happens to the controller, for `replay`; configurations included, so keep it to yourself
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}
