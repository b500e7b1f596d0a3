//! `mgmt-bench`: what a controller of the Management framework costs, ours or Zeek's.
//!
//! Starts a controller, or is pointed at a running one, and measures as a WebSocket client. What each figure means is written in
//! `docs/performance.md`. It sends a bounded number of requests, gives up on an answer after [`client::ANSWER_TIMEOUT`], and ends
//! what it started.

mod attack;
mod client;
mod measure;
mod process;
mod report;

use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode};

use broker_endpoint::with_causes;
use clap::Parser;
use mgmt_daemon::program::complain;

use crate::{
    attack::Attacks,
    process::{Controller, Launch},
    report::{Comparison, Report},
};

/// How many turns each controller has in a comparison.
const TURNS: usize = 7;

/// How often a controller is started.
const STARTS: usize = 5;

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
    /// Where the controller serves WebSocket clients
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// The command that starts the controller; it runs in a private directory
    #[arg(last = true, value_name = "COMMAND", requires = "connect")]
    command: Vec<String>,
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
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain("mgmt-bench", &with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Measures, prints, and returns whether all is as it should be.
async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let launch = match (&arguments.controller, arguments.connect) {
        (Some(path), _) => Launch::own(path)?,
        (None, Some(address)) if !arguments.command.is_empty() => {
            Launch::command(address, &arguments.command)?
        }
        (None, Some(address)) => {
            let mut report = Report::default();
            measure_running(address, arguments.stage, &mut report).await?;
            report::print(&report, arguments.json);
            return Ok(true);
        }
        (None, None) => unreachable!("clap requires --controller or --connect"),
    };
    if let Some(other) = &arguments.compare {
        let other = Launch::own(other)?;
        let mut comparison = Comparison::default();
        for turn in 0..TURNS {
            // Who is first changes, as the machine may do something else now and then.
            let mut both = [(0, &launch), (1, &other)];
            both.rotate_left(turn % 2);
            let mut reports = [Report::default(), Report::default()];
            for (place, launch) in both {
                reports[place] = measure_started(launch).await?;
            }
            comparison.turn(&reports[0], &reports[1]);
        }
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
    report::print(&measure_started(&launch).await?, arguments.json);
    Ok(true)
}

/// Everything but attacks, at a controller that is started for that.
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
    measure::concurrent(address, report).await?;
    if stages {
        for nodes in [10, 100, 2_000] {
            measure::configuration(address, nodes, report).await?;
        }
    }
    Ok(())
}
