//! What keeps nodes of a real Zeek from running: another keeper of Zeek, what Linux denies, and a queue that logs cannot get into.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use mgmt_api::link::Problem;
use tokio::{process::Command, task::spawn_blocking, time::timeout};

use super::{
    others, path,
    rights::{self, Bounds},
};
use crate::{
    core::{LaunchSettings, NodeSpec, Supervise, writes_logs},
    supervisors::own,
};

/// How long systemd may take to say something.
const SYSTEMCTL_MAX: Duration = Duration::from_secs(1);

/// What there is in the way of these nodes.
pub(super) async fn look(supervise: Supervise, specs: &[NodeSpec], launch: &LaunchSettings) -> Vec<Problem> {
    let are_children = supervise == Supervise::Native;
    let of_units = if are_children {
        None
    } else {
        Bounds::of_units().await
    };
    let keeper = others::target().await;
    let (specs, launch) = (specs.to_vec(), launch.clone());
    let found = spawn_blocking(move || {
        let bounds = if are_children {
            Some(Bounds::of_agent())
        } else {
            of_units
        };
        obstacles(&specs, &launch, bounds.as_ref(), are_children, keeper)
    });
    found.await.unwrap_or_default()
}

/// Likewise, of what the file system and Linux say, which may take as long as they do. `keeper` is another one of Zeek.
fn obstacles(
    specs: &[NodeSpec],
    launch: &LaunchSettings,
    bounds: Option<&Bounds>,
    are_children: bool,
    keeper: Option<String>,
) -> Vec<Problem> {
    let program = path(&launch.program);
    let executes = bounds.and_then(|bounds| rights::executes(program, bounds));
    let keeper = others::zeekctl().or(keeper);
    let for_all: Vec<String> = keeper.into_iter().chain(executes).collect();
    let captures = bounds
        .filter(|_| are_children)
        .and_then(|bounds| rights::captures(program, bounds));
    let of_node = |spec: &NodeSpec| {
        let device = spec.interface.as_ref().and_then(own::device);
        let own = spec.cluster.get(&spec.name);
        let queue = own
            .filter(|own| writes_logs(&spec.cluster, own))
            .and_then(|_| cannot_rotate(path(&spec.directory), path(&launch.log_queue)));
        let reasons = for_all.iter().chain(captures.iter().filter(|_| device.is_some()));
        let reasons = reasons.cloned().chain(queue);
        reasons
            .map(|reason| Problem::new(&spec.name, reason))
            .collect::<Vec<_>>()
    };
    specs.iter().flat_map(of_node).collect()
}

/// Why a logger whose directory is below this one could not rotate logs into this queue.
pub(crate) fn cannot_rotate(directory: &Path, queue: &Path) -> Option<String> {
    let file_system = |path: &Path| {
        let mut there = path.ancestors().filter_map(|above| fs::metadata(above).ok());
        there.next().map(|known| known.dev())
    };
    let (of_directory, of_queue) = file_system(directory).zip(file_system(queue))?;
    (of_directory != of_queue).then(|| {
        format!(
            "{} is on another file system than {}: Zeek moves rotated logs by renaming, so a logger would end at each start",
            queue.display(),
            directory.display()
        )
    })
}

/// What `systemctl` says, with its end; nothing where it is not there, or does not answer.
pub(super) async fn systemctl(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("systemctl");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    timeout(SYSTEMCTL_MAX, command.output()).await.ok()?.ok()
}
