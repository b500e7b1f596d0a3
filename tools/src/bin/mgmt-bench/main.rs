//! `mgmt-bench`: what a controller of the Management framework costs, ours or Zeek's.
//!
//! Starts a controller, or is pointed at a running one, and measures as WebSocket clients and agents. What each figure means is written
//! in `docs/performance.md`. It ends by itself, gives up on an answer after [`client::ANSWER_TIMEOUT`], and ends what it started.

mod agents;
mod attack;
mod bystander;
mod client;
mod measure;
mod process;
mod report;
mod scale;
mod soak;
mod usage;

use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use broker_endpoint::{EndpointConfig, with_causes};
use clap::Parser;
use mgmt_daemon::{process::raise_file_limit, program::complain};
use tokio::signal::{
    ctrl_c,
    unix::{SignalKind, signal},
};

use crate::{
    agents::{Kind, Speaks},
    attack::Attacks,
    process::{Controller, Launch},
    report::{Comparison, Report},
    scale::Plan,
};

/// How many turns each controller has in a comparison.
const TURNS: usize = 7;

/// The same with agents, which take longer.
const TURNS_WITH_AGENTS: usize = 3;

/// How many clients ask at the same time.
const CLIENTS: [u32; 2] = [8, 64];

/// Where the controller of a COMMAND serves agents, over anonymous TLS: as by default.
const BROKER_PORT: u16 = 2150;

/// How often a controller is started.
const STARTS: usize = 5;

/// Measure a controller of Zeek's Management framework: start, memory, latency, staging.
///
/// One of three ways: `--controller PATH` starts this project's controller with a private state directory; `--connect ADDRESS --
/// COMMAND...` starts any controller, Zeek's included, and measures at ADDRESS; `--connect ADDRESS` alone measures a running one.
#[expect(clippy::struct_excessive_bools, reason = "these are options of a command")]
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// This project's controller, to be started on a free loopback port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["connect", "command"], required_unless_present = "connect")]
    controller: Option<PathBuf>,
    /// Another controller of this project, such as that of an earlier commit: both are measured by turns, and the ratios of the first to
    /// this one are printed. Fails if one is above 1.1
    #[arg(
        long,
        value_name = "PATH",
        requires = "controller",
        conflicts_with = "attacks"
    )]
    compare: Option<PathBuf>,
    /// Where the controller serves WebSocket clients
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// The command that starts the controller; it runs in a private directory
    #[arg(last = true, value_name = "COMMAND", requires = "connect")]
    command: Vec<String>,
    /// Measure with so many agents instead: stand-ins in this process, which connect to the controller and do as they are told at once.
    /// Fails if the controller does not ask each as it should
    #[arg(long, value_name = "N", conflicts_with_all = ["attacks", "stage"], value_parser = clap::value_parser!(u16).range(1..))]
    agents: Option<u16>,
    /// How many nodes each of them has
    #[arg(long, value_name = "N", requires = "agents", default_value = "20", value_parser = clap::value_parser!(u16).range(1..))]
    nodes: u16,
    /// Whose agents they stand for
    #[arg(long, requires = "agents", default_value = "scripts")]
    speaks: Speaks,
    /// All of them connect from one address, rather than each from its own
    #[arg(long, requires = "agents")]
    one_address: bool,
    /// With agents, keep the controller busy for so many minutes instead, which takes two minutes more: 20 clients ask, each minute a configuration is deployed, agents
    /// and clients are killed at random. Fails if memory grows, a descriptor is lost or a request is left unanswered
    #[arg(long, value_name = "N", requires_all = ["controller", "agents"], conflicts_with = "compare", value_parser = clap::value_parser!(u32).range(1..))]
    minutes: Option<u32>,
    /// Seed of all random choices
    #[arg(long, value_name = "N", requires = "minutes", default_value_t = 14)]
    seed: u64,
    /// Also measure staging at a controller that was not started here: this replaces its staged configuration
    #[arg(long)]
    stage: bool,
    /// Attack the controller instead, beside a client who asks 20 times a second: fails if that one is not served or memory does not come back. Takes
    /// five minutes
    #[arg(long, requires = "controller")]
    attacks: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What ends a measurement early: what was tried, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Failure {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

fn failed<E: Into<Box<dyn Error + Send + Sync>>>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let what = what.into();
    move |error| Failure {
        what,
        source: error.into(),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let measured = tokio::select! {
        measured = run(&arguments) => measured,
        signal = ended() => Err(failed("nothing is measured")(format!("ended by {signal}"))),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain("mgmt-bench", &with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Waits for a signal that ends this program. What it has started ends with it.
async fn ended() -> &'static str {
    let mut terminated = signal(SignalKind::terminate()).expect("signals can be waited for");
    tokio::select! {
        _ = ctrl_c() => "SIGINT",
        _ = terminated.recv() => "SIGTERM",
    }
}

impl Arguments {
    fn launch(&self) -> Result<Option<Launch>, Failure> {
        match (&self.controller, self.connect) {
            (Some(path), _) => Launch::own(path).map(Some),
            (None, Some(address)) if !self.command.is_empty() => {
                let broker = SocketAddr::new(address.ip(), BROKER_PORT);
                Launch::command((address, broker), &self.command).map(Some)
            }
            (None, _) => Ok(None),
        }
    }

    fn plan(&self) -> Result<Option<Plan>, Failure> {
        let Some(agents) = self.agents else {
            return Ok(None);
        };
        let limits = EndpointConfig::default();
        let (limit, of) = if self.one_address {
            (limits.connections_per_address_max, "of one address")
        } else {
            (limits.connections_max, "in all")
        };
        if self.controller.is_some() && usize::from(agents) > limit {
            let reason = format!("a controller of this project takes {limit} agents {of} (docs/limits.md)");
            return Err(failed(format!("--agents {agents}"))(reason));
        }
        let kind = Kind {
            agents,
            speaks: self.speaks,
            one_address: self.one_address,
        };
        let nodes = self.nodes;
        Ok(Some(Plan { kind, nodes }))
    }
}

/// Measures, prints, and returns whether all is as it should be.
async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    raise_file_limit();
    let plan = arguments.plan()?;
    let Some(launch) = arguments.launch()? else {
        if plan.is_some() {
            let how = "needs a controller that is started here: add `-- COMMAND`, or use --controller PATH";
            return Err(failed("--agents")(how));
        }
        let mut report = Report::default();
        let address = arguments
            .connect
            .expect("clap requires --controller or --connect");
        measure_running(address, arguments.stage, &mut report).await?;
        report::print(&report, arguments.json);
        return Ok(true);
    };
    if let Some(other) = &arguments.compare {
        let comparison = compare(&launch, &Launch::own(other)?, plan).await?;
        report::print(&comparison, arguments.json);
        return Ok(comparison.is_no_worse());
    }
    if arguments.attacks {
        let controller = launch.start().await?;
        let attacks = Attacks::carry_out(&controller).await?;
        controller.stop().await?;
        report::print(&attacks, arguments.json);
        return Ok(attacks.are_borne());
    }
    if let Some((minutes, plan)) = arguments.minutes.zip(plan) {
        let lasting = Duration::from_secs(60) * minutes;
        let soaked = soak::soak(&launch, plan, lasting, arguments.seed).await?;
        report::print(&soaked, arguments.json);
        return Ok(soaked.is_as_before());
    }
    let report = measure(&launch, plan).await?;
    report::print(&report, arguments.json);
    Ok(report.is_sound())
}

/// By turns.
async fn compare(launch: &Launch, other: &Launch, plan: Option<Plan>) -> Result<Comparison, Failure> {
    let mut comparison = Comparison::default();
    let turns = if plan.is_some() { TURNS_WITH_AGENTS } else { TURNS };
    for turn in 0..turns {
        // Who is first changes, as the machine may do something else now and then.
        let mut both = [(0, launch), (1, other)];
        both.rotate_left(turn % 2);
        let mut reports = [Report::default(), Report::default()];
        for (place, launch) in both {
            reports[place] = measure(launch, plan).await?;
        }
        if let Some(report) = reports.iter().find(|report| !report.is_sound()) {
            let faults = report.to_string();
            return Err(failed(
                "a controller did not do as it should, so there is nothing to compare",
            )(faults));
        }
        comparison.turn(&reports[0], &reports[1]);
    }
    Ok(comparison)
}

async fn measure(launch: &Launch, plan: Option<Plan>) -> Result<Report, Failure> {
    match plan {
        Some(plan) => scale::measure(launch, plan).await,
        None => measure_started(launch).await,
    }
}

/// Everything but attacks and agents, at a controller that is started for that.
async fn measure_started(launch: &Launch) -> Result<Report, Failure> {
    let mut report = Report::default();
    let (mut listening, mut answering) = (Vec::new(), Vec::new());
    let mut started: Option<Controller> = None;
    for _ in 0..STARTS {
        if let Some(previous) = started.take() {
            previous.stop().await?;
        }
        let controller = started.insert(launch.start().await?);
        listening.push(controller.listening_after);
        answering.push(measure::first_answer(controller).await?);
    }
    let controller = started.expect("it was started at least once");
    report.times("start to listening", &listening);
    report.times("start to first answer", &answering);
    report.memory("after the start", controller.memory()?);
    measure_running(controller.address, true, &mut report).await?;
    report.memory("at the end", controller.memory()?);
    controller.stop().await?;
    Ok(report)
}

async fn measure_running(address: SocketAddr, stages: bool, report: &mut Report) -> Result<(), Failure> {
    measure::sequential(address, report).await?;
    for clients in CLIENTS {
        measure::concurrent(address, clients, report).await?;
    }
    if stages {
        for nodes in [10, 100, 2_000] {
            measure::configuration(address, nodes, report).await?;
        }
    }
    Ok(())
}
