//! Whether the host has what nodes need. Only what is sure to keep a node from running counts: what cannot be seen from here may be well.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use broker_codec::data::{Port, ZeekString};
use mgmt_api::link::{Prepared, Problem};
use mgmt_daemon::files::with_suffix;
use rustix::{
    fs::{Access, access, statvfs},
    io::Errno,
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
};
use tokio::task::spawn_blocking;

mod obstacles;
mod others;
mod rights;

pub(crate) use self::obstacles::cannot_rotate;
use super::{
    listeners::{self, Listener},
    needs::space,
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
    if there != directory {
        match access(there, Access::WRITE_OK | Access::EXEC_OK) {
            Err(Errno::ACCESS) => {
                return Some(format!("its directory cannot be made: {shown} is not writable"));
            }
            Err(Errno::ROFS) => return Some(format!("its directory cannot be made: {shown} is read-only")),
            _ => {}
        }
    }
    space(there)
}

/// How much may be written to the file system that this is on, in bytes. Some do not tell.
pub(super) fn free_space(path: &Path) -> Option<u64> {
    let system = statvfs(path).ok().filter(|system| system.f_blocks > 0)?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
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

/// Whether the system has no network device of this name.
pub(super) fn is_no_device(name: &str) -> bool {
    let asked = socket(AddressFamily::INET, SocketType::DGRAM, None);
    asked.is_ok_and(|asked| matches!(name_to_index(&asked, name), Err(Errno::NODEV)))
}

/// The processes that listen on every address and are no nodes, by port. One that cannot be seen may be a node.
struct Listeners(BTreeMap<u16, Listener>);

impl Listeners {
    /// Of these ports. Nodes work below these directories.
    fn on(ports: impl Iterator<Item = u16>, nodes: &[PathBuf]) -> Self {
        let is_foreign = |listener: &Listener| {
            let works_in = listener.works_in.as_ref();
            works_in.is_some_and(|place| !nodes.iter().any(|nodes| place.starts_with(nodes)))
        };
        let found = listeners::on(&ports.collect()).into_iter();
        let foreign = found.filter(|listener| listener.on_all_addresses && is_foreign(listener));
        Self(foreign.map(|listener| (listener.port, listener)).collect())
    }

    /// A process that keeps a node from listening on a port.
    fn in_the_way(&self, port: Port) -> Option<String> {
        let listener = self.0.get(&port.number)?;
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number));
        let is_taken = taken.is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
        is_taken.then(|| format!("{listener} listens on its port {port}"))
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, os::unix::fs::PermissionsExt};

    use mgmt_api::ClusterRole;

    use super::*;
    use crate::core::NodeSpec;

    #[test]
    fn a_device_that_is_not_there_is_named_and_what_need_not_be_one_is_not_looked_for() {
        let said = |name: &str| interface(&name.into());
        let absent = Some("there is no network interface nosuch0".to_owned());
        for name in ["nosuch0", "pcap::nosuch0", "af_packet::nosuch0"] {
            assert_eq!(said(name), absent, "{name}");
        }
        let others = [
            "lo",
            "af_packet::lo",
            "any",
            "dag0",
            "zc:nosuch0",
            "nosuch0 -i lo",
            "myricom::nosuch0",
            "",
            "::",
            "a-name-that-no-device-has",
            "größer",
            "pcap::usbmon9",
        ];
        for name in others {
            assert_eq!(said(name), None, "{name}");
        }
    }

    #[test]
    fn a_script_by_its_full_path_has_to_be_there_in_one_of_its_forms() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("a.zeek"), "").unwrap();
        fs::create_dir(home.path().join("package")).unwrap();
        let said = |name: &str| script(&home.path().join(name).to_str().unwrap().into());
        for name in ["a", "a.zeek", "package"] {
            assert_eq!(said(name), None, "{name}");
        }
        let absent = said("b.zeek").expect("it is absent");
        assert!(
            absent.starts_with("there is no script /") && absent.ends_with("/b.zeek"),
            "{absent}"
        );
        assert_eq!(script(&"policy/b".into()), None, "for Zeek to find");
    }

    #[test]
    fn a_directory_must_be_one_that_can_be_made_where_there_is_space() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(directory(&home.path().join("nodes/worker")), None);
        assert_eq!(directory(home.path()), None);
        let full = directory(Path::new("/proc/self/no/such"));
        assert_eq!(full.is_some(), !rustix::process::geteuid().is_root(), "{full:?}");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let denied = directory(&home.path().join("worker"));
        // Root may write anywhere.
        assert_eq!(
            denied.is_some(),
            !rustix::process::geteuid().is_root(),
            "{denied:?}"
        );
    }

    #[test]
    fn who_listens_on_a_port_on_all_addresses_is_named_unless_it_is_a_node() {
        let elsewhere = [PathBuf::from("/nonexistent")];
        let listens = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let number = listens.local_addr().unwrap().port();
        let port = Port::tcp(number);
        let said = |nodes: &[PathBuf]| Listeners::on([number].into_iter(), nodes).in_the_way(port);
        let this = format!("process {} (", std::process::id());
        let found = said(&elsewhere).expect("it listens");
        assert!(found.starts_with(&this), "{found}");
        assert!(
            found.ends_with(&format!(") listens on its port {number}/tcp")),
            "{found}"
        );
        assert_eq!(
            said(&[std::env::current_dir().unwrap()]),
            None,
            "it works where nodes do"
        );
        drop(listens);
        assert_eq!(said(&elsewhere), None);
        let _on_one_address = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        assert_eq!(said(&elsewhere), None, "a node may listen on another one");
    }

    #[tokio::test]
    async fn what_the_launcher_would_refuse_is_told_before() {
        let home = tempfile::tempdir().unwrap();
        let place = |role| ClusterNode {
            role,
            host: IpAddr::from(Ipv4Addr::LOCALHOST).into(),
            p: Some(Port::tcp(2200)),
            interface: None,
            metrics_port: None,
        };
        let cluster: BTreeMap<ZeekString, ClusterNode> = [
            ("manager".into(), place(ClusterRole::Manager)),
            ("worker-1".into(), place(ClusterRole::Worker)),
        ]
        .into();
        let nodes = [
            ("manager", "mgmt.open_files", u64::MAX.to_string()),
            ("worker-1", "mgmt.numa", "bind:0".to_owned()),
        ];
        let nodes = nodes.map(|(name, option, value)| Candidate {
            spec: NodeSpec {
                name: name.into(),
                directory: "/nonexistent/nodes".into(),
                options: [(option.into(), value.into())].into(),
                ..NodeSpec::default()
            },
            ports: Vec::new(),
            runs: true,
        });
        let said = async |supervise| {
            let host = Host {
                nodes: "/nonexistent".into(),
                is_simulation: true,
                supervise,
                is_elsewhere: true,
                launch: Some(LaunchSettings {
                    program: "/bin/true".into(),
                    version: Some("zeek version 8.0.0".into()),
                    path: "/nonexistent".into(),
                    link_script: "/link.zeek".into(),
                    limits_memory: supervise == Supervise::Systemd,
                    ..LaunchSettings::default()
                }),
                scratch: home.path().join("rehearsal"),
            };
            let found = host.look(nodes.to_vec(), Some(cluster.clone()), Vec::new()).await;
            let problems = found.problems.into_iter();
            problems
                .map(|problem| format!("{}: {}", problem.node, problem.reason))
                .collect::<Vec<_>>()
        };
        let native = said(Supervise::Native).await;
        let files = format!("manager: it cannot have {} open files: ", u64::MAX);
        assert!(native.len() == 2 && native[0].starts_with(&files), "{native:?}");
        let numa = "worker-1: it cannot have the NUMA policy bind:0: it takes numactl, which is not in /nonexistent: install it";
        assert_eq!(native[1], numa);
        // systemd's unit may give it.
        assert!(said(Supervise::Systemd).await.is_empty());
    }

    #[test]
    fn a_simulation_needs_no_devices_and_another_host_is_not_looked_at() {
        let node = Candidate {
            spec: NodeSpec {
                name: "w".into(),
                interface: Some("nosuch0".into()),
                directory: "/tmp/w".into(),
                scripts: vec!["/no/such.zeek".into()],
                ..NodeSpec::default()
            },
            ports: Vec::new(),
            runs: false,
        };
        let count = |is_simulation, is_elsewhere| {
            let host = Host {
                nodes: "/nonexistent".into(),
                is_simulation,
                supervise: Supervise::Zeek,
                is_elsewhere,
                launch: None,
                scratch: "/nonexistent".into(),
            };
            let problems = host.look_around(std::slice::from_ref(&node), &[]);
            assert!(problems.iter().all(|problem| problem.node == *"w"));
            problems.len()
        };
        assert_eq!(
            (count(true, false), count(false, false), count(false, true)),
            (1, 2, 0)
        );
    }
}
