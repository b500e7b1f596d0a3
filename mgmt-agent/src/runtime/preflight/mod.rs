//! Whether the host has what nodes need. Only what is sure to keep a node from running counts: what cannot be seen from here may be well.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use broker_codec::data::{Port, ZeekString};
use mgmt_api::link::{Prepared, Problem};
use mgmt_daemon::files::with_suffix;
use rustix::{
    fs::{Access, access},
    io::Errno,
};
use tokio::task::spawn_blocking;

mod obstacles;
mod others;
mod rights;

pub(crate) use self::obstacles::cannot_rotate;
use super::{
    listeners::Listeners,
    needs::{is_no_device, space},
    rehearsal::rehearse,
};
use crate::{
    config::{Config, is_loopback},
    core::{Candidate, ClusterNode, LaunchSettings, NodeSpec, Supervise},
    launcher,
    supervisors::own,
};

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Directories of nodes are below it.
    nodes: PathBuf,
    /// Stand-ins need no devices, nor any right.
    is_simulation: bool,
    supervise: Supervise,
    /// Nodes run where the Supervisor does, which may be another host or network.
    is_elsewhere: bool,
    /// How nodes are started, if that is for the agent to do.
    launch: Option<LaunchSettings>,
    /// A directory that may be made to have Zeek check what nodes load.
    scratch: PathBuf,
}

impl Host {
    pub(super) fn new(config: &Config) -> Self {
        let is_own = config.settings.supervise != Supervise::Zeek;
        Self {
            nodes: path(&config.settings.state_dir).join("nodes"),
            is_simulation: config.is_simulation,
            supervise: config.settings.supervise,
            is_elsewhere: config
                .supervisor
                .as_ref()
                .is_some_and(|supervisor| !is_loopback(&supervisor.host)),
            launch: is_own.then(|| config.settings.launch.clone()),
            scratch: config.daemon.working_dir.join("rehearsal"),
        }
    }

    /// Where nodes work, as the system names it: their directories may be links to others.
    fn directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.nodes).into_iter().flatten().flatten();
        let places = entries.map(|entry| entry.path()).chain([self.nodes.clone()]);
        places.filter_map(|place| fs::canonicalize(place).ok()).collect()
    }

    /// What keeps nodes of this cluster from running, if it is known.
    pub(super) async fn look(
        self,
        mut nodes: Vec<Candidate>,
        cluster: Option<BTreeMap<ZeekString, ClusterNode>>,
        given_up: Vec<Port>,
    ) -> Prepared {
        let launch = self.launch.clone().zip(cluster.map(Arc::new));
        let mut found = Vec::new();
        let mut specs = Vec::new();
        let mut backend = None;
        if let Some((launch, cluster)) = &launch {
            for node in &mut nodes {
                let mut spec = node.spec.clone();
                spec.cluster = Arc::clone(cluster);
                match own::launch(&spec, launch, &ZeekString::default()) {
                    Ok(wanted) => {
                        // Of what systemd's unit gives a node this process knows nothing.
                        let denied = Some(&wanted).filter(|_| self.supervise == Supervise::Native);
                        let denied = denied.and_then(launcher::foreseen);
                        let denied = denied.map(|what| format!("it cannot have {what}"));
                        let reasons = cpus(&wanted.limits.cpus).into_iter().chain(denied);
                        found.extend(reasons.map(|reason| Problem::new(&spec.name, reason)));
                        let listeners = wanted.needs.listeners.iter();
                        node.ports = listeners.map(|at| Port::tcp(at.port())).collect();
                        backend = Some(wanted.backend().into());
                        specs.push(spec);
                    }
                    Err(reason) => found.push(Problem::new(&spec.name, reason)),
                }
            }
        }
        if let Some((launch, _)) = launch.as_ref().filter(|_| !self.is_simulation) {
            found.extend(obstacles::look(self.supervise, &specs, launch).await);
        }
        let scratch = self.scratch.clone();
        let host = spawn_blocking(move || self.look_around(&nodes, &given_up));
        found.extend(host.await.unwrap_or_default());
        // Of one that cannot run anyway Zeek would say the same once more.
        specs.retain(|spec: &NodeSpec| found.iter().all(|problem| problem.node != spec.name));
        if let Some((launch, _)) = &launch {
            found.extend(rehearse(&specs, launch, &scratch).await);
        }
        Prepared {
            problems: found,
            backend,
            fates: None,
        }
    }

    /// What the host lacks. May take as long as the file system does.
    fn look_around(&self, nodes: &[Candidate], given_up: &[Port]) -> Vec<Problem> {
        if self.is_elsewhere {
            return Vec::new();
        }
        let ports = nodes.iter().flat_map(|node| &node.ports);
        let listeners = Listeners::on(ports.map(|port| port.number), &self.directories());
        let of_node = |Candidate { spec, ports, runs }: &Candidate| {
            let mut found = Vec::new();
            found.extend(spec.scripts.iter().filter_map(script));
            if !runs {
                found.extend(directory(path(&spec.directory)));
            }
            let ports = ports.iter().filter(|port| !given_up.contains(port));
            found.extend(ports.filter_map(|port| listeners.in_the_way(*port)));
            if !self.is_simulation {
                found.extend(spec.interface.as_ref().and_then(interface));
            }
            let name = spec.name.clone();
            found.into_iter().map(move |reason| Problem::new(&name, reason))
        };
        nodes.iter().flat_map(of_node).collect()
    }
}

pub(super) fn path(bytes: &ZeekString) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn is_absent(path: &Path) -> bool {
    matches!(fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}

/// A script by its full path. What Zeek would find by another name depends on its Supervisor.
fn script(name: &ZeekString) -> Option<String> {
    let script = path(name);
    let forms = [
        script.to_owned(),
        with_suffix(script, ".zeek"),
        with_suffix(script, ".bro"),
    ];
    let absent = script.is_absolute() && forms.iter().all(|form| is_absent(form));
    absent.then(|| format!("there is no script {name}"))
}

/// A directory that the agent has to make, and the space for what is written there.
fn directory(directory: &Path) -> Option<String> {
    let there = directory.ancestors().find(|above| !is_absent(above))?;
    let shown = there.display();
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        // One that is there may be that of another user, whose nodes a Supervisor starts.
        Err(Errno::ACCESS) if there != directory => {
            return Some(format!("its directory cannot be made: {shown} is not writable"));
        }
        Err(Errno::ROFS) => {
            return Some(format!(
                "its directory cannot be written to: {shown} is read-only"
            ));
        }
        _ => {}
    }
    space(there)
}

/// CPUs that the host does not have.
fn cpus(wanted: &[u32]) -> Option<String> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let online = online.trim();
    let there = own::cpus(online)?;
    let absent = wanted.iter().find(|cpu| !there.contains(cpu))?;
    Some(format!("there is no CPU {absent}: the host has {online}"))
}

/// A network device that is not there.
fn interface(name: &ZeekString) -> Option<String> {
    let device = own::device(name)?;
    is_no_device(device).then(|| format!("there is no network interface {device}"))
}

#[cfg(test)]
mod tests;
