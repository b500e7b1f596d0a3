//! The command line.

mod access;
mod revisions;
mod rollout;

use std::path::{Path, PathBuf};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use clap_complete::Shell;
use mgmt_api::{ClusterRole, operator::Station};

use self::revisions::note;
pub(crate) use self::{
    access::{Enroll, TokenCommand},
    revisions::RevisionsCommand,
    rollout::{RolloutCommand, RolloutStart},
};
use crate::templates::{Cpus, given};

/// Operates clusters of Zeek through their controller, or one sensor through its agent.
///
/// Exit codes: 0 done, all is as deployed; 1 failed, or not all is as deployed; 2 plan --exit-code, with changes; 3 cannot tell, as the daemon cannot be asked, or
/// does not tell status, instances or clusters; 64 wrong command line.
#[derive(Debug, Parser)]
#[command(name = "mgmtctl", version)]
pub(crate) struct Options {
    /// The control socket of a controller or an agent, else that of the variable `MGMT_SOCKET`; without either, that of the controller, else that of the
    /// agent, in /run/zeek-mgmt
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) socket: Option<PathBuf>,
    /// The HTTP port of a controller or an agent, as https://HOST:PORT, else that of the variable `MGMT_SERVER`
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The file of a token, by which a server is told who asks; else the variable `MGMT_TOKEN` is one
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) token_file: Option<PathBuf>,
    /// The CA of the server's certificate; without, one that this host trusts
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) ca: Option<PathBuf>,
    /// A certificate, by which a server is told who asks, with --key
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) key: Option<PathBuf>,
    /// The cluster that is meant, of a controller's; without, default, and for status all of them; for token create several times. An agent has but one
    #[arg(long, global = true, env = "MGMT_CLUSTER", value_name = "NAME")]
    cluster: Vec<String>,
    /// Print the daemon's answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Options {
    /// The cluster that is named. A variable that is set to nothing counts as not set.
    pub(crate) fn cluster(&self) -> Option<&str> {
        self.clusters().next()
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &str> {
        self.cluster
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what runs, against what is deployed; the last line says whether all is well
    Status(Form),
    /// Show the clusters of a controller, or delete one
    Clusters {
        #[command(subcommand)]
        command: Option<ClustersCommand>,
    },
    /// Show the instances and their agents, by way of the controller
    Instances(Form),
    /// Stop nodes; they stay away until they are started, also over restarts, deployments and reboots
    Stop(Which),
    /// Start nodes that were stopped
    Start(Which),
    /// Restart nodes, by way of the controller
    Restart(Which),
    /// Show what a node last wrote to its standard output and standard error before it ended
    Logs {
        #[arg(value_name = "NODE")]
        node: String,
        /// Go on: show what it writes before it ends again
        #[arg(short, long)]
        follow: bool,
    },
    /// Show what has become of a node: its states, why it ended, and what it wrote then
    Diag {
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Show the value of an identifier of Zeek's in nodes, by way of the controller
    Print {
        /// Such as `Site::local_nets`
        #[arg(value_name = "ID")]
        id: String,
        /// Names of nodes; without, all
        #[arg(value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Show what a deployment would do to each node, as the agents say; nothing changes. The last line sums it up
    ///
    /// Exit codes: 0 it can be deployed; 1 a node could not run; 2 with --exit-code, there is something to change; 3 not known of all instances.
    Plan {
        /// A TOML file, a cluster file of zeek-client's, or JSON; - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// End with 2 if there is something to change
        #[arg(long)]
        exit_code: bool,
    },
    /// Deploy what is staged, by way of the controller, and follow it; the last line says what has come of it
    Deploy {
        /// A TOML file, a cluster file of zeek-client's, or JSON, to be staged first; - for standard input
        #[arg(value_name = "FILE", conflicts_with = "plan")]
        file: Option<PathBuf>,
        /// A plan, of which just that is done, or nothing if a deployment would do something else now
        #[arg(long, value_name = "ID")]
        plan: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Why, for `mgmtctl history`
        #[arg(long, value_name = "TEXT", value_parser = note)]
        note: Option<String>,
    },
    /// Try what is staged on one instance after another, by way of the controller, and deploy it when all nodes do well
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Show the latest deployments, those of zeek-client too, by way of the controller
    Deployments {
        /// One of them, with its instances and nodes
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    #[command(flatten)]
    Revisions(RevisionsCommand),
    /// Show the cluster's configurations, by way of the controller
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Follow what happens: to instances, nodes, deployments; of all clusters, unless one is named. By way of the controller
    Events {
        /// Begin with so many events of the past
        #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
        lines: usize,
    },
    /// Print what has a shell complete command lines, also names of nodes, instances and clusters and numbers of revisions, which the daemon is asked for
    Completion {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page in roff, or that of a command
    Man {
        /// Such as config diff
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Have an agent obey the controller that it refuses, or, if no controller is connected, the next one
    Adopt,
    /// Have the daemon read its certificates, tokens, roles, deny list and log level again, and open its logs anew
    Reload,
    /// Show who the daemon takes us for, and what we may
    Whoami,
    /// Show, make and revoke tokens, by which programs say over HTTP who they are
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make a token by which the agent of an instance gets a certificate of the controller's own CA, once: `mgmt-agent enroll` takes it
    Enroll(Enroll),
}

impl Command {
    /// Whether its exit code says how all is: then a refusal is no sign that something is wrong.
    pub(crate) const fn judges(&self) -> bool {
        matches!(
            self,
            Self::Status(_) | Self::Instances(_) | Self::Clusters { command: None }
        )
    }
}

/// How much is shown.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Form {
    /// With more columns: wide
    #[arg(short, long, value_name = "FORM")]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Wide,
}

impl Form {
    pub(crate) const fn is_wide(self) -> bool {
        matches!(self.output, Some(Output::Wide))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClustersCommand {
    /// Delete a cluster that has nothing deployed: to empty it, deploy an empty configuration in it
    Delete {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a configuration as a cluster file of zeek-client's
    Show {
        /// staged, or deployed
        #[arg(value_name = "WHICH", default_value = "deployed", value_parser = station)]
        station: Station,
    },
    /// Stage a configuration: the next deployment takes it
    Stage {
        /// A TOML file, a cluster file of zeek-client's, or JSON; - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the configuration that a TOML file stands for, with all of its nodes; the controller is asked only for what the file takes from it
    Expand(Expand),
    /// Show in what a configuration differs from the deployed one
    Diff {
        /// A TOML file, a cluster file of zeek-client's, or JSON; - for standard input; without, what is staged
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Expand {
    /// A TOML file; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// As JSON, or as a cluster file of zeek-client's if that has a place for all
    #[arg(short, long, value_name = "FORM", default_value = "json")]
    pub(crate) output: Written,
    /// How many CPUs an instance has, as in sensor1=16, instead of what its agent tells
    #[arg(long, value_name = "INSTANCE=NUMBER", value_parser = given)]
    pub(crate) cpus: Vec<(String, Cpus)>,
}

/// How a configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Written {
    Json,
    Ini,
}

/// Whether a file stands for standard input.
pub(crate) fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Which nodes are meant: those for which all that is given holds.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct Which {
    /// Names of nodes
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Those of a role: logger, manager, proxy or worker
    #[arg(long, value_parser = role)]
    pub(crate) role: Option<ClusterRole>,
    /// Those on this instance
    #[arg(long = "instance", value_name = "INSTANCE")]
    pub(crate) instances: Vec<String>,
    /// All nodes
    #[arg(long, conflicts_with_all = ["nodes", "role", "instances"])]
    pub(crate) all: bool,
}

fn role(word: &str) -> Result<ClusterRole, &'static str> {
    let role = word.parse().unwrap_or_default();
    match role {
        ClusterRole::None => Err("the roles are logger, manager, proxy and worker"),
        role => Ok(role),
    }
}

/// A duration, as in `90min`, `12h` or `30days`, in seconds.
fn seconds(text: &str) -> Result<u64, &'static str> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let seconds = match unit.trim() {
        "s" | "sec" | "secs" => Some(1),
        "m" | "min" | "mins" => Some(60),
        "h" | "hr" | "hrs" => Some(60 * 60),
        "d" | "day" | "days" => Some(24 * 60 * 60),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    let seconds = seconds
        .zip(number)
        .and_then(|(seconds, number)| number.checked_mul(seconds));
    seconds.ok_or("it is a number with a unit, as in 90min, 12h or 30d")
}

fn station(word: &str) -> Result<Station, &'static str> {
    word.parse().map_err(|_| "one is staged, and one deployed")
}

/// An empty one is as none: a variable that is set to nothing counts as not set.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_in_a_time_with_a_unit() {
        assert_eq!(seconds("90min"), Ok(5400));
        assert_eq!(seconds("12h"), Ok(43_200));
        assert_eq!(seconds("30 days"), Ok(2_592_000));
        for wrong in [
            "",
            "30",
            "d",
            "-1d",
            "1.5h",
            "1w",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_that_tell_how_all_is_judge() {
        for (words, judges) in [
            (&["status"][..], true),
            (&["instances"], true),
            (&["clusters"], true),
            (&["clusters", "delete", "lab"], false),
            (&["whoami"], false),
            (&["stop", "--all"], false),
        ] {
            let options = Options::try_parse_from([&["mgmtctl"], words].concat());
            assert_eq!(
                options.expect("it can be read").command.judges(),
                judges,
                "{words:?}"
            );
        }
    }

    #[test]
    fn the_command_line_makes_sense() {
        use clap::CommandFactory;

        Options::command().debug_assert();
        let options = Options::try_parse_from([
            "mgmtctl",
            "token",
            "create",
            "t",
            "--role",
            "read",
            "--cluster",
            "a",
            "--cluster",
            "b",
        ]);
        assert!(options.expect("it can be read").clusters().eq(["a", "b"]));
    }
}
