//! From a node as it is to be to what it is started with.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use broker_codec::data::ZeekString;
use mgmt_api::{node_link::HEARTBEAT, release};

use super::{
    backend::Backend,
    device::device,
    layout::{Cluster, literal},
    options::{Reserved, assignments},
};
use crate::core::{
    ClusterNode, LaunchSettings, NodeSpec,
    order::{Launch, Needs, PCAP_FILE},
};

/// The oldest Zeek whose nodes can be started.
const OLDEST: (u32, u32) = (6, 0);

/// The first Zeek that tries again each second to connect and to listen; those before take half a minute or a whole one.
const RETRIES_SOON: (u32, u32) = (7, 2);

/// The environment variable by whose address Zeek listens: Broker, and metrics.
const LISTEN_ADDRESS: &str = "ZEEK_DEFAULT_LISTEN_ADDRESS";

/// What a node's own environment may not have: it would be something else than the node that it is to be.
const TAKEN: [&str; 4] = [
    "CLUSTER_NODE",
    "ZEEK_MANAGEMENT_NODE",
    "ZEEK_STEM",
    "ZEEK_SUPERVISED_NODE",
];
const TAKEN_PREFIXES: [&str; 2] = ["MGMT_NODE_", "ZEEKCTL_"];

/// Has Zeek write down how far it is.
const STATUS_FILE: [&str; 2] = ["-U", ".status"];

/// How long the name of a node may be, in bytes: it is one of a directory and of a unit.
const NAME_BYTES_MAX: usize = 128;

/// How this node is started, or why it cannot be. `token` is what it has to show when it says hello.
pub fn launch(spec: &NodeSpec, settings: &LaunchSettings, token: &ZeekString) -> Result<Launch, String> {
    let release = release_of(settings)?;
    check_place(spec)?;
    let own = spec.cluster.get(&spec.name);
    let own = own.ok_or("it is no node of its cluster")?;
    let cluster = Cluster::new(&spec.cluster, release)?;
    let mut node = Node {
        listen: Some(cluster.address(own)),
        spec,
        settings,
        own,
        cluster,
        backend: Backend::of(spec, &cluster)?,
        reserved: Reserved::of(spec)?,
    };
    if node.reserved.pcap_file.is_some() && node.interface().is_some() {
        return Err("it has an interface and mgmt.pcap_file, and Zeek reads only from one of them".into());
    }
    node.backend.check(&cluster, own)?;
    let environment = node.environment(token)?;
    let listen = environment.get(LISTEN_ADDRESS.as_bytes());
    node.listen = listen.and_then(|told| told.as_str()?.parse().ok());
    if node.reserved.limits.memory_max.is_some() && !settings.limits_memory {
        return Err(
            "its option mgmt.memory_max is obeyed by systemd only, which does not keep the nodes here".into(),
        );
    }
    Ok(Launch {
        spec: spec.clone(),
        agent: settings.agent_name.clone(),
        token: token.clone(),
        program: settings.program.clone(),
        arguments: node.arguments()?,
        needs: Needs {
            interface: node.interface().and_then(device).map(ZeekString::from),
            listeners: node.listeners(),
        },
        environment,
        layout: cluster.text().into(),
        before_start: node.reserved.before_start,
        limits: node.reserved.limits,
    })
}

/// How Zeek is asked whether it can read all that a node would load, without capturing or listening: `zeek -a`, which stops before `zeek_init`. The
/// launcher's part is left out. It works in a directory of its own, as it takes leftover logs for its own where the node works.
///
/// Before 9.0, Zeek listens for metrics unless one of zeekctl's variables tells it to check only.
pub fn rehearsal(
    spec: &NodeSpec,
    settings: &LaunchSettings,
    directory: ZeekString,
) -> Result<Launch, String> {
    let mut spec = spec.clone();
    spec.directory = directory;
    spec.interface = None;
    spec.options.remove(PCAP_FILE.as_bytes());
    let mut launch = launch(&spec, settings, &ZeekString::default())?;
    let at = settings.leading_arguments.len();
    launch.arguments.splice(at..at + STATUS_FILE.len(), ["-a".into()]);
    for variable in ["ZEEKCTL_CHECK_CONFIG", "ZEEKCTL_DISABLE_LISTEN"] {
        launch.environment.insert(variable.into(), "1".into());
    }
    Ok(launch)
}

/// What is known of a node before it has a launch.
struct Node<'a> {
    spec: &'a NodeSpec,
    settings: &'a LaunchSettings,
    own: &'a ClusterNode,
    /// Where Zeek listens. None where the node's environment names no address, but a host.
    listen: Option<IpAddr>,
    cluster: Cluster<'a>,
    backend: Backend,
    reserved: Reserved,
}

impl Node<'_> {
    fn interface(&self) -> Option<&ZeekString> {
        self.spec
            .interface
            .as_ref()
            .filter(|interface| !interface.is_empty())
    }

    fn arguments(&self) -> Result<Vec<ZeekString>, String> {
        let settings = self.settings;
        let mut arguments = settings.leading_arguments.clone();
        arguments.extend(STATUS_FILE.map(ZeekString::from));
        if let Some(interface) = self.interface() {
            if interface.iter().any(|byte| b"\n\r\0".contains(byte)) {
                return Err(format!("no interface can be called '{interface}'"));
            }
            arguments.extend(["-i".into(), interface.clone()]);
        }
        if let Some(file) = &self.reserved.pcap_file {
            arguments.extend(["-r".into(), file.clone()]);
        }
        let backend = self.backend.script(self.cluster.release).map(ZeekString::from);
        arguments.extend(backend);
        let scripts = settings.site_scripts.iter().chain(&self.spec.scripts);
        for script in scripts.chain([&settings.link_script]) {
            check_script(script)?;
            arguments.push(script.clone());
        }
        arguments.extend(settings.options.iter().cloned());
        arguments.extend(self.options().into_iter().map(ZeekString::from));
        arguments.extend(assignments(self.spec)?);
        Ok(arguments)
    }

    /// What the node's place in the cluster sets.
    fn options(&self) -> Vec<String> {
        let mut options = self
            .backend
            .options(&self.cluster, self.own, self.reserved.pcap_file.is_some());
        // Its default is that of all listeners, without brackets, and the listener for metrics gets it with a colon and the port behind it
        // (`telemetry/Manager.cc`).
        if let Some(address @ IpAddr::V6(_)) = self.listen
            && self.cluster.metrics_port(self.own).is_some()
        {
            options.push(format!("Telemetry::metrics_address={}", literal(address)));
        }
        options
    }

    /// All variables. What the node's own environment has comes on top of what every node gets.
    fn environment(&self, token: &ZeekString) -> Result<BTreeMap<ZeekString, ZeekString>, String> {
        let (spec, settings) = (self.spec, self.settings);
        let mut environment = settings.inherited.clone();
        let mut set = |name: &str, value: ZeekString| environment.insert(name.into(), value);
        set("PATH", settings.path.clone());
        set("ZEEKPATH", settings.script_path.clone());
        set("CLUSTER_NODE", spec.name.clone());
        set(LISTEN_ADDRESS, self.cluster.address(self.own).to_string().into());
        if self.cluster.release < RETRIES_SOON {
            set("ZEEK_DEFAULT_CONNECT_RETRY", "1".into());
            set("ZEEK_DEFAULT_LISTEN_RETRY", "1".into());
        }
        set("MGMT_NODE_AGENT", settings.agent_address.to_string().into());
        set("MGMT_NODE_PORT", format!("{}/tcp", settings.agent_port).into());
        set("MGMT_NODE_TOKEN", token.clone());
        set("MGMT_NODE_HEARTBEAT", HEARTBEAT.as_secs().to_string().into());
        if self.cluster.is_logger(self.own) {
            set("MGMT_NODE_LOG_QUEUE", settings.log_queue.clone());
        }
        if self.reserved.pcap_file.is_some() {
            set("MGMT_NODE_TRACE_END", "1".into());
        }
        for (name, value) in &spec.env {
            check_variable(name, value)?;
            environment.insert(name.clone(), value.clone());
        }
        // The layout is in the node's directory, and no other may be found.
        let path = environment.entry("ZEEKPATH".into()).or_default();
        *path = [&spec.directory, b":".as_slice(), path].concat().into();
        Ok(environment)
    }

    /// Where the node will listen.
    fn listeners(&self) -> Vec<SocketAddr> {
        let mut listeners = self.backend.listeners(&self.cluster, self.own, self.listen);
        let metrics = self.cluster.metrics_port(self.own);
        let metrics = self.listen.zip(metrics.map(|port| port.number));
        listeners.extend(metrics.map(SocketAddr::from));
        listeners
    }
}

/// The release of the installed Zeek by its first two numbers, or why no node can be started from it.
pub fn release_of(settings: &LaunchSettings) -> Result<(u32, u32), String> {
    let unknown = || "it is not known which Zeek is installed: `zeek --version` has not said so".to_owned();
    let version = settings.version.as_deref().ok_or_else(unknown)?;
    let (major, minor) = release(version).ok_or_else(|| format!("{version:?} names no version of Zeek"))?;
    if (major, minor) < OLDEST {
        let (oldest, then) = OLDEST;
        return Err(format!(
            "Zeek {major}.{minor} is too old: {oldest}.{then} or later is needed"
        ));
    }
    Ok((major, minor))
}

/// Whether a node can have this name: it is a part of paths, units and scripts as it is.
pub fn check_name(name: &[u8]) -> Result<(), String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let starts_well = name.first().is_some_and(u8::is_ascii_alphanumeric);
    if starts_well && name.iter().all(is_plain) && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "its name can only have letters, digits, and after the first one dots, underscores and hyphens, {NAME_BYTES_MAX} in all"
    ))
}

/// Likewise its directory.
fn check_place(spec: &NodeSpec) -> Result<(), String> {
    check_name(&spec.name)?;
    let directory = &spec.directory;
    if !directory.starts_with(b"/") || directory.iter().any(|byte| b":\n\r\0".contains(byte)) {
        return Err(format!(
            "Zeek would find no script in its directory, {directory}: a full path without colons is needed"
        ));
    }
    Ok(())
}

/// Zeek takes an argument with `=` for an option, and one that begins with `-` for a flag.
fn check_script(script: &ZeekString) -> Result<(), String> {
    let is_other = script.starts_with(b"-") || script.iter().any(|byte| b"=\n\r\0".contains(byte));
    if script.is_empty() || is_other {
        return Err(format!("no script can be called '{script}'"));
    }
    Ok(())
}

fn check_variable(name: &ZeekString, value: &ZeekString) -> Result<(), String> {
    let is_taken = TAKEN.iter().any(|taken| name == taken);
    if is_taken
        || TAKEN_PREFIXES
            .iter()
            .any(|taken| name.starts_with(taken.as_bytes()))
    {
        return Err(format!(
            "its environment has {name}, which says what a node is: leave it out"
        ));
    }
    if name.is_empty() || name.iter().any(|byte| b"=\n\r\0".contains(byte)) {
        return Err(format!("no environment variable can be called '{name}'"));
    }
    if value.iter().any(|byte| b"\n\r\0".contains(byte)) {
        return Err(format!(
            "its environment variable {name} has more than one line, or a NUL"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
