//! What is done beside the loop: calls to systemd, and files.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};
use tokio::task::spawn_blocking;

use super::{
    bus::{Bus, BusError},
    files::{self, Owner, path},
    name,
    unit::Snapshot,
};
use crate::{
    launcher,
    runtime::needs::lacking,
    supervisors::own::{Launch, Order},
};

/// What has become of an order for a node.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was passed on. What comes of it, systemd tells.
    Done,
    /// The node runs already, as it is wanted.
    Runs(Found),
    Lacks {
        what: String,
    },
    NotStarted {
        reason: String,
    },
}

/// A node that was started by an earlier agent or an administrator, and runs.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) launch: Box<Launch>,
    pub(super) now: Snapshot,
    pub(super) age: Duration,
}

/// Tells a node to end. One that is stopped would not hear of it.
async fn terminate(bus: &Bus, node: &str) -> Result<(), BusError> {
    bus.kill(node, "main", Signal::TERM.as_raw()).await?;
    // It may have ended meanwhile.
    let _ = bus.kill(node, "main", Signal::CONT.as_raw()).await;
    Ok(())
}

/// Carries out an order for a node of this name.
pub(super) async fn carry_out(bus: Bus, nodes: PathBuf, node: String, order: Order) -> Outcome {
    let done = match &order {
        Order::Start { launch } => match start(&bus, &node, launch).await {
            Err(Failed::Bus(error)) => Err(error),
            Ok(outcome) | Err(Failed::With(outcome)) => return outcome,
        },
        Order::Rewrite { launch } => rewrite(&bus, &node, launch).await,
        Order::Terminate { .. } => terminate(&bus, &node).await,
        Order::Kill { .. } => bus.kill(&node, "all", Signal::KILL.as_raw()).await,
        Order::Forget { .. } => forget(&bus, &nodes, &node).await,
        Order::Look => Ok(()),
    };
    match done {
        Ok(()) => Outcome::Done,
        // All begins anew when it is back.
        Err(BusError::Gone(_)) if bus.is_closed() => Outcome::Done,
        Err(error) if matches!(order, Order::Start { .. }) => Outcome::NotStarted {
            reason: error.to_string(),
        },
        Err(error) => {
            // Also for a unit that has ended meanwhile, as will be told.
            tracing::warn!(%node, %error, "cannot {}", what(&order));
            Outcome::Done
        }
    }
}

const fn what(order: &Order) -> &'static str {
    match order {
        Order::Terminate { .. } | Order::Kill { .. } => "send a signal to a node",
        Order::Rewrite { .. } => "write down what a node is to be started with next time",
        _ => "forget a node",
    }
}

enum Failed {
    Bus(BusError),
    With(Outcome),
}

impl From<BusError> for Failed {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

fn not_started(reason: impl Into<String>) -> Failed {
    Failed::With(Outcome::NotStarted {
        reason: reason.into(),
    })
}

async fn start(bus: &Bus, node: &str, launch: &Launch) -> Result<Outcome, Failed> {
    let service = bus.service(node).await?;
    if let Some(reason) = service.foreign(path(&launch.spec.directory)) {
        return Err(not_started(reason));
    }
    let wanted = launch.clone();
    let directory = path(&launch.spec.directory).to_owned();
    if service.now.is_active() && service.now.pid != 0 {
        let found = found(&directory, service.now).await;
        return found
            .filter(|found| found.launch.agent == launch.agent && found.launch.spec == launch.spec)
            .map(Outcome::Runs)
            .ok_or_else(|| {
                let unit = name::unit(node);
                not_started(format!(
                    "{unit} runs already, otherwise than it should: systemctl stop {unit}"
                ))
            });
    }
    let (needs, place) = (launch.needs.clone(), directory.clone());
    if let Ok(Some(what)) = on_disk(move || Ok(lacking(&needs, &place))).await {
        return Ok(Outcome::Lacks { what });
    }
    let owner = on_disk(move || Owner::of(&service.user)).await;
    let owner = owner.map_err(|error| not_started(error.to_string()))?;
    // As for nodes that this agent starts itself.
    if let Err(error) = on_disk(move || files::write(&wanted, owner)).await {
        let what = format!(
            "its directory {} cannot be written to: {error}",
            directory.display()
        );
        return Ok(Outcome::Lacks { what });
    }
    limit_memory(bus, node, launch.limits.memory_max).await?;
    bus.start(node).await?;
    Ok(Outcome::Done)
}

/// What systemd is to hold a unit to. A limit that an earlier start has set is taken back; one of an administrator's drop-in is left alone.
async fn limit_memory(bus: &Bus, node: &str, bytes: Option<u64>) -> Result<(), BusError> {
    let kept = format!(
        "/run/systemd/system.control/{}.d/50-MemoryMax.conf",
        name::unit(node)
    );
    let was_limited = on_disk(move || Path::new(&kept).try_exists()).await;
    let bytes = bytes.or_else(|| was_limited.unwrap_or_default().then_some(u64::MAX));
    if bytes.is_some() {
        bus.set_memory(node, bytes).await?;
    }
    Ok(())
}

async fn rewrite(bus: &Bus, node: &str, launch: &Launch) -> Result<(), BusError> {
    let service = bus.service(node).await?;
    let launch = launch.clone();
    let written = on_disk(move || files::write(&launch, Owner::of(&service.user)?)).await;
    written.map_err(|error| BusError::Refused(error.to_string()))
}

async fn forget(bus: &Bus, nodes: &Path, node: &str) -> Result<(), BusError> {
    let directory = files::directory(nodes, node);
    let forgotten = on_disk(move || launcher::forget(&directory)).await;
    forgotten.map_err(|error| BusError::Refused(error.to_string()))?;
    // Only a failed unit is still loaded.
    match bus.reset_failed(node).await {
        Err(BusError::Refused(_)) | Ok(()) => Ok(()),
        gone => gone,
    }
}

async fn on_disk<T: Send + 'static>(what: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(what).await.map_err(io::Error::other)?
}

/// The nodes in directories below this one that run.
pub(super) async fn look(bus: Bus, nodes: PathBuf) -> Result<Vec<Found>, BusError> {
    let mut all = Vec::new();
    for node in bus.nodes().await? {
        let service = bus.service(&node).await?;
        let directory = files::directory(&nodes, &node);
        if !service.now.is_active() || service.now.pid == 0 || service.foreign(&directory).is_some() {
            continue;
        }
        all.extend(found(&directory, service.now).await);
    }
    Ok(all)
}

/// What runs in a node's directory.
pub(super) async fn found(directory: &Path, now: Snapshot) -> Option<Found> {
    let age = since(now.started);
    match read(directory).await {
        Ok(launch) => Some(Found { launch, now, age }),
        Err(error) => {
            tracing::warn!(
                %error,
                "a node runs, and what it was started with cannot be read in {}: it is left alone. To have it started anew, stop it by systemctl",
                directory.display()
            );
            None
        }
    }
}

async fn read(directory: &Path) -> io::Result<Box<Launch>> {
    let directory = directory.to_owned();
    let read = move || {
        let launch = launcher::read_of_any_user(&directory)?;
        launcher::of_directory(&directory, launch)
    };
    on_disk(read).await.map(Box::new)
}

/// How long ago that was, in microseconds of the monotonic clock.
fn since(micros: u64) -> Duration {
    Duration::from_micros(now().saturating_sub(micros))
}

/// What the monotonic clock shows, in microseconds.
pub(super) fn now() -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic));
    now.ok()
        .and_then(|now| now.as_micros().try_into().ok())
        .unwrap_or_default()
}
