//! `mgmt-bench`: what a controller of the Management framework costs, ours or Zeek's.
//!
//! Starts a controller, or is pointed at a running one, and measures as a WebSocket client. What each figure means is written in
//! `docs/performance.md`. It sends a bounded number of requests, gives up on an answer after [`client::ANSWER_TIMEOUT`], and ends
//! what it started.

mod attack;
mod client;
mod compare;
mod measure;
mod process;
mod report;
mod stats;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::{
    compare::Comparison,
    process::{Controller, Launch},
    report::Report,
};

/// Measure a controller of Zeek's Management framework: start, memory, latency, staging.
///
/// One of three ways: `--controller PATH` starts this project's controller with a private state directory; `--connect ADDRESS --
/// COMMAND...` starts any controller, Zeek's included, and measures at ADDRESS; `--connect ADDRESS` alone measures a running one.
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
    /// How many turns each has in a comparison
    #[arg(long, default_value_t = 7, requires = "compare", value_parser = clap::value_parser!(u16).range(1..=100))]
    turns: u16,
    /// Where the controller serves WebSocket clients
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// The command that starts the controller; it runs in a private directory
    #[arg(last = true, value_name = "COMMAND", requires = "connect")]
    command: Vec<String>,
    /// Also measure staging at a controller that was not started here: this replaces its staged configuration
    #[arg(long)]
    stage: bool,
    /// How often to start the controller
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    starts: u16,
    /// How many `get_instances` requests, one after the other on one connection
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    requests: u32,
    /// How many clients at the same time, for the concurrent measurement
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    clients: u16,
    /// The sizes of configurations to stage and fetch, in nodes
    #[arg(long, value_delimiter = ',', default_values_t = [10_u16, 100, 2_000], value_parser = clap::value_parser!(u16).range(1..=10_000))]
    nodes: Vec<u16>,
    /// How often each size is staged and fetched
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    repeat: u16,
    /// Attack the controller instead, beside a client who asks 20 times a second: fails if that one is not served or memory does not come back. Takes
    /// five minutes
    #[arg(long, requires = "controller")]
    attacks: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What can end a measurement early.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    /// The controller could not be started or did not listen.
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    /// The controller did not answer as it should.
    #[error(transparent)]
    Client(#[from] client::ClientError),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Measures, prints, and returns whether all is as it should be.
async fn run(arguments: &Arguments) -> Result<bool, BenchError> {
    let launch = match (&arguments.controller, arguments.connect) {
        (Some(path), _) => Some(Launch::own(path)?),
        (None, Some(address)) if !arguments.command.is_empty() => {
            Some(Launch::command(address, &arguments.command)?)
        }
        _ => None,
    };
    if let (Some(other), Some(launch)) = (&arguments.compare, &launch) {
        let other = Launch::own(other)?;
        let mut comparison = Comparison::default();
        for turn in 0..arguments.turns {
            // Who is first changes, as the machine may do something else now and then.
            let mut both = [launch, &other];
            both.rotate_left(usize::from(turn % 2));
            let first = measure_all(Some(both[0]), both[0].address, arguments).await?;
            let second = measure_all(Some(both[1]), both[1].address, arguments).await?;
            let (ours, others) = if turn % 2 == 0 {
                (first, second)
            } else {
                (second, first)
            };
            comparison.turn(&ours, &others);
        }
        report::print(&comparison, arguments.json);
        return Ok(comparison.is_no_worse());
    }
    let report = match (&launch, arguments.connect) {
        (Some(launch), _) if arguments.attacks => {
            let controller = launch.start().await?;
            let attacks = attack::attacks(&controller).await?;
            controller.stop().await?;
            Report {
                attacks,
                ..Report::default()
            }
        }
        (Some(launch), _) => measure_all(Some(launch), launch.address, arguments).await?,
        (None, Some(address)) => measure_all(None, address, arguments).await?,
        (None, None) => unreachable!("clap requires --controller or --connect"),
    };
    report::print(&report, arguments.json);
    Ok(report.attacks.iter().all(attack::Attacked::is_borne))
}

/// Everything but attacks, at a controller that is started for that, or runs already.
async fn measure_all(
    launch: Option<&Launch>,
    address: SocketAddr,
    arguments: &Arguments,
) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let mut started: Option<Controller> = None;
    if let Some(launch) = launch {
        let mut listening = Vec::new();
        let mut answering = Vec::new();
        for _ in 0..arguments.starts {
            if let Some(previous) = started.take() {
                previous.stop().await?;
            }
            let controller = started.insert(launch.start().await?);
            listening.push(controller.listening_after);
            answering.push(measure::first_answer(controller).await?);
        }
        report.start(&listening, &answering);
    }
    report.memory_idle = started.as_ref().map(Controller::memory).transpose()?;
    report.sequential = Some(measure::sequential(address, arguments.requests).await?);
    report.concurrent = Some(measure::concurrent(address, arguments.clients, arguments.requests).await?);
    if started.is_some() || arguments.stage {
        for nodes in &arguments.nodes {
            report
                .configurations
                .push(measure::configuration(address, *nodes, arguments.repeat).await?);
        }
    }
    report.memory_after = started.as_ref().map(Controller::memory).transpose()?;
    if let Some(controller) = started {
        controller.stop().await?;
    }
    Ok(report)
}
