//! zeek-client's cluster files: what it reads for `stage-config`, and writes for `get-config`.
//!
//! ```text
//! [instances]
//! sensor1                       its agent connects to the controller
//! sensor2 = 10.0.0.12:2151      the controller connects to its agent
//!
//! [worker-1]                    a node
//! instance = sensor1
//! role = worker
//! interface = eth1
//! ```

mod sections;
mod words;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt::Write, num::NonZeroU16, str::FromStr};

use broker_codec::data::{Address, Excerpt, ZeekString};
use mgmt_api::{
    ClusterRole,
    operator::{ConfigurationFile, InstanceEntry, NodeEntry},
};

use self::sections::{Item, Section, sections};

const INSTANCES: &str = "instances";

/// What a node's section may have.
const KEYS: [&str; 10] = [
    "instance",
    "role",
    "type",
    "state",
    "port",
    "scripts",
    "interface",
    "cpu_affinity",
    "env",
    "metrics_port",
];

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(crate) struct FileError {
    line: usize,
    reason: String,
}

impl FileError {
    fn at(line: usize, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { line, reason }
    }
}

/// What a file says, and what in it means nothing.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) config: ConfigurationFile,
    pub(crate) warnings: Vec<String>,
}

/// Reads a file as zeek-client does. A node that names no instance is on that of this host's agent, if no node names one.
pub(crate) fn read(text: &str, host: &str) -> Result<Read, FileError> {
    let sections = sections(text)?;
    let mut read = Read {
        config: ConfigurationFile::default(),
        warnings: Vec::new(),
    };
    let own = format!("agent-{host}");
    for section in sections.iter().filter(|section| section.name != INSTANCES) {
        let node = node(section, &own, &mut read.warnings)?;
        read.config.nodes.push(node);
    }
    let declared = sections.iter().find(|section| section.name == INSTANCES);
    if let Some(section) = sections
        .iter()
        .find(|section| section.name != INSTANCES && section.item("instance").is_none())
    {
        let names_one = |section: &Section| section.name != INSTANCES && section.item("instance").is_some();
        if declared.is_some() || sections.iter().any(names_one) {
            let reason = format!(
                "node {} names no instance; all nodes name one, or none does and there is no [instances]",
                section.name
            );
            return Err(FileError::at(section.line, reason));
        }
    }
    read.config.instances = match declared {
        Some(section) => section.items.iter().map(instance).collect::<Result<_, _>>()?,
        None => implied(&read.config.nodes),
    };
    Ok(read)
}

/// The instances that nodes name, where no section does.
fn implied(nodes: &[NodeEntry]) -> Vec<InstanceEntry> {
    let mut names: Vec<&ZeekString> = nodes.iter().map(|node| &node.instance).collect();
    names.sort();
    names.dedup();
    let connects = |name: &ZeekString| InstanceEntry {
        host: None,
        name: name.clone(),
        port: None,
    };
    names.into_iter().map(connects).collect()
}

fn instance(item: &Item) -> Result<InstanceEntry, FileError> {
    let name = ZeekString::from(item.key.as_str());
    let Some(place) = item.value.as_deref().filter(|value| !value.is_empty()) else {
        return Ok(InstanceEntry {
            host: None,
            name,
            port: None,
        });
    };
    let wrong = |what: &str| {
        let place = Excerpt::new(place.as_bytes());
        FileError::at(
            item.line,
            format!(
                "instance {}: {place} is no {what}, such as 10.0.0.12:2151",
                item.key
            ),
        )
    };
    let (host, port) = place.rsplit_once(':').ok_or_else(|| wrong("address and port"))?;
    let host = host.trim_matches(['[', ']', ' ']);
    Ok(InstanceEntry {
        host: Some(Address::from_str(host).map_err(|_| wrong("address and port"))?),
        name,
        port: Some(port.trim().parse().map_err(|_| wrong("address and port"))?),
    })
}

/// A section of a node, as its keys are asked for.
struct Keys<'a> {
    section: &'a Section,
}

impl Keys<'_> {
    /// The error of a key.
    fn wrong(&self, item: &Item, reason: &str) -> FileError {
        FileError::at(
            item.line,
            format!("node {}: {} {reason}", self.section.name, item.key),
        )
    }

    fn text(&self, key: &str) -> Option<(&Item, &str)> {
        let item = self.section.item(key)?;
        Some((item, item.value.as_deref()?))
    }

    fn name(&self, key: &str) -> Result<Option<&str>, FileError> {
        match self.text(key) {
            Some((item, "")) => Err(self.wrong(item, "needs a value")),
            found => Ok(found.map(|(_, text)| text)),
        }
    }

    fn number<T: FromStr>(&self, key: &str, kind: &str) -> Result<Option<T>, FileError> {
        let Some((item, text)) = self.text(key) else {
            return Ok(None);
        };
        let number = text.trim().parse();
        let wrong = |_| self.wrong(item, &format!("{} is no {kind}", Excerpt::new(text.as_bytes())));
        number.map(Some).map_err(wrong)
    }

    fn words(&self, key: &str) -> Result<Vec<String>, FileError> {
        let Some((item, text)) = self.text(key) else {
            return Ok(Vec::new());
        };
        words::split(text).map_err(|reason| self.wrong(item, &format!("cannot be read: {reason}")))
    }
}

fn node(section: &Section, own: &str, warnings: &mut Vec<String>) -> Result<NodeEntry, FileError> {
    const PORT: &str = "port (1 to 65535)";
    let keys = Keys { section };
    for item in &section.items {
        let Item { key, line, .. } = item;
        if item.value.is_none() {
            return Err(keys.wrong(item, "needs a value"));
        }
        if !KEYS.contains(&key.as_str()) {
            warnings.push(format!(
                "line {line}: node {}: there is no key {key}, it is ignored",
                section.name
            ));
        }
        if key == "state" {
            warnings.push(format!(
                "line {line}: node {}: its state is not read",
                section.name
            ));
        }
    }
    let mut scripts = keys.words("scripts")?;
    // As zeek-client orders them.
    scripts.sort();
    let scripts: Vec<ZeekString> = scripts.into_iter().map(ZeekString::from).collect();
    Ok(NodeEntry {
        cpu_affinity: keys.number("cpu_affinity", "number of a CPU")?,
        env: environment(&keys)?,
        instance: keys.name("instance")?.unwrap_or(own).into(),
        interface: keys.text("interface").map(|(_, name)| name.into()),
        metrics_port: keys.number("metrics_port", PORT)?,
        name: section.name.as_str().into(),
        options: None,
        port: keys.number("port", PORT)?,
        role: role(&keys)?,
        scripts: Some(scripts).filter(|scripts| !scripts.is_empty()),
    })
}

fn role(keys: &Keys<'_>) -> Result<ClusterRole, FileError> {
    let key = if keys.text("role").is_some() {
        "role"
    } else {
        "type"
    };
    let word = keys.name(key)?;
    let Some((word, item)) = word.zip(keys.section.item(key)) else {
        let reason = format!("node {} needs a role", keys.section.name);
        return Err(FileError::at(keys.section.line, reason));
    };
    // zeek-client takes it with the name of its enum, too.
    let plain = word.rsplit([':', '.']).next().unwrap_or_default().to_lowercase();
    plain.parse().map_err(|_| {
        let word = Excerpt::new(word.as_bytes());
        keys.wrong(
            item,
            &format!("{word} is none; roles are logger, manager, proxy and worker"),
        )
    })
}

fn environment(keys: &Keys<'_>) -> Result<BTreeMap<ZeekString, ZeekString>, FileError> {
    let mut variables = BTreeMap::new();
    for word in keys.words("env")? {
        let Some((name, value)) = word.split_once('=') else {
            let reason = format!("{} is no NAME=VALUE", Excerpt::new(word.as_bytes()));
            let item = keys.section.item("env");
            let line = item.map_or(keys.section.line, |item| item.line);
            return Err(FileError::at(
                line,
                format!("node {}: env {reason}", keys.section.name),
            ));
        };
        variables.insert(name.into(), value.into());
    }
    Ok(variables)
}

/// Writes a file as zeek-client does. What it has no place for is missing: [`read`] tells.
pub(crate) fn write(config: &ConfigurationFile) -> String {
    let mut text = String::new();
    if !config.instances.is_empty() {
        text.push_str("[instances]\n");
    }
    for InstanceEntry { host, name, port } in &config.instances {
        let name = name.to_str_lossy();
        let _ = match (host, port) {
            (Some(host), Some(port)) => writeln!(text, "{name} = {host}:{port}"),
            _ => writeln!(text, "{name}"),
        };
    }
    if !config.instances.is_empty() {
        text.push('\n');
    }
    for node in &config.nodes {
        write_node(node, &mut text);
    }
    text
}

fn write_node(node: &NodeEntry, text: &mut String) {
    let shown = |value: &ZeekString| value.to_str_lossy().into_owned();
    let port = |port: NonZeroU16| port.to_string();
    let scripts = node.scripts.iter().flatten();
    let scripts: Vec<String> = scripts.map(|script| words::written(&shown(script))).collect();
    let variable = |(name, value): (&ZeekString, &ZeekString)| {
        let value = value.to_str_lossy();
        let value = Some(&value).filter(|value| !value.is_empty());
        let value = value.map(|value| words::written(value)).unwrap_or_default();
        format!("{}={value}", name.to_str_lossy())
    };
    let variables: Vec<String> = node.env.iter().map(variable).collect();
    let listed = |words: Vec<String>| Some(words.join(" ")).filter(|words| !words.is_empty());
    let _ = writeln!(text, "[{}]", node.name.to_str_lossy());
    for (key, value) in [
        ("instance", Some(shown(&node.instance))),
        ("role", Some(node.role.to_string().to_uppercase())),
        ("port", node.port.map(port)),
        ("scripts", listed(scripts)),
        ("interface", node.interface.as_ref().map(shown)),
        ("cpu_affinity", node.cpu_affinity.map(|cpu| cpu.to_string())),
        ("env", listed(variables)),
        ("metrics_port", node.metrics_port.map(port)),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {}", value.replace('%', "%%"));
        }
    }
    text.push('\n');
}
