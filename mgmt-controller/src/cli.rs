//! The command line.

use std::{convert::Infallible, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use mgmt_daemon::config::{HostArgs, Listener};

/// Drop-in replacement for the cluster controller of Zeek's Management framework.
///
/// Without a subcommand, and with `run`, the controller starts. Settings come from options on the command line, then
/// `Module::name=value` arguments, then `--redefs` files, then the environment variables of Zeek's controller, then
/// defaults. They may stand before a subcommand or after it.
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
    /// Print the manual page in roff, or that of a subcommand
    Man {
        /// The subcommand.
        subcommand: Option<String>,
    },
}

fn replaced(_: &str) -> Result<Infallible, &'static str> {
    Err(
        "there is one setting for each kind of peer now: --agent-api for agents, --client-api for clients over Broker",
    )
}

/// Everything that can be set on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingArgs {
    /// What every daemon of the framework takes.
    #[command(flatten)]
    pub host: HostArgs,
    /// This controller's name [Zeek: `Management::Controller::name`]
    #[arg(long)]
    pub name: Option<String>,
    /// What becomes of a deployment when instances of its configuration are absent: `fail`, and nothing is changed (the default), or
    /// `skip`, and they follow when they return
    #[arg(long, value_name = "fail|skip")]
    pub absent_instances: Option<String>,
    /// What agents speak, as long as they have said nothing that tells: `5.0.0-rc1` if they are of that Zeek
    #[arg(long, value_name = "ZEEK")]
    pub agent_api: Option<String>,
    /// What clients over Broker speak, as long as they have said nothing that tells: `4.1` or `seed` if they are of that Zeek.
    /// Clients over WebSocket get today's API
    #[arg(long, value_name = "ZEEK")]
    pub client_api: Option<String>,
    /// Of 0.1.0
    #[arg(long, hide = true, value_parser = replaced)]
    peer_api: Option<Infallible>,
    /// How long the controller's own rotated logs stay in `log-queue` where no archiver fetches them; 0sec for ever [default: 30 days]
    #[arg(long, value_name = "INTERVAL")]
    pub keep_logs: Option<String>,
    /// Where to serve zeek-client, or `off` [Zeek: `listen_address_websocket`, `listen_port_websocket`]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub websocket_listen: Option<Listener>,
    /// A name by which web pages may know the WebSocket port, besides addresses, `localhost`, this host's name and the names in the
    /// certificate; comma-separated, or several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub websocket_host: Vec<String>,
    /// Where to serve agents over Broker, or `off`: an address, the name of an interface, or the name of a host [Zeek:
    /// `listen_address`, `listen_port`]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<Listener>,
}
