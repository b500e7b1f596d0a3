//! The Zeek scripts that we bring: written into the agent's directory, with its coordinates.
//!
//! Nodes under our own supervision load ours, and a Supervisor that we start gets one in any case, since Zeek's own would start Zeek's agent as
//! well. The others are for installations that lack Zeek's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mgmt_daemon::{
    config::{Value, dump_text},
    files,
};

use crate::{
    config::{Config, ZeekCommand, common_settings},
    coordinates::Coordinates,
    core::Supervise,
    error::RunError,
};

const NODE: &str = include_str!("../scripts/node.zeek");
const NODE_LINK: &str = include_str!("../scripts/node-link.zeek");
const NODE_LAYOUT: &str = include_str!("../scripts/node-layout.zeek");
const SUPERVISOR: &str = include_str!("../scripts/supervisor.zeek");
const SHIM: &str = include_str!("../scripts/shim.zeek");

/// The scripts that nodes load, and a Supervisor that we start.
#[derive(Debug)]
pub(crate) struct Scripts(Vec<Script>);

#[derive(Debug)]
struct Script {
    path: PathBuf,
    text: String,
    mode: u32,
}

impl Scripts {
    /// Nodes will find the agent there.
    pub(crate) fn of(config: &Config, agent: Coordinates) -> Self {
        let directory = directory(config);
        let mut all = Vec::new();
        let mut add = |path: PathBuf, text: String, mode| all.push(Script { path, text, mode });
        if let Some(path) = &config.own_node_script {
            add(path.clone(), node(config, agent), files::SECRET_MODE);
        }
        if config.settings.supervise != Supervise::Zeek {
            let (link, mode) = node_link(config);
            add(
                directory.join("node-layout.zeek"),
                NODE_LAYOUT.to_owned(),
                files::FILE_MODE,
            );
            add(directory.join("node-link.zeek"), link, mode);
        }
        if let Some(zeek) = &config.start_supervisor {
            if !zeek.has_shim {
                let topic = config.settings.zeek.shim_topic.to_str_lossy();
                let shim = fill_in(SHIM, &[("SHIM_TOPIC", &topic)]);
                add(directory.join("shim.zeek"), shim, files::SECRET_MODE);
            }
            add(
                supervisor_path(config),
                supervisor(config, zeek),
                files::SECRET_MODE,
            );
        }
        Self(all)
    }

    /// Writes them unless they are there: nodes that run have read earlier ones, and they may be removed with the agent's directory. Returns
    /// whether one was not.
    pub(crate) fn write(&self) -> Result<bool, RunError> {
        let mut has_written = false;
        for Script { path, text, mode } in &self.0 {
            has_written |= write(path, text, *mode)?;
        }
        Ok(has_written)
    }
}

fn directory(config: &Config) -> PathBuf {
    config.daemon.working_dir.join("scripts")
}

/// What a Supervisor of ours is started with.
pub(crate) fn supervisor_path(config: &Config) -> PathBuf {
    directory(config).join("supervisor.zeek")
}

/// The script by which nodes find the agent, and its mode: others than its owner must not read a passphrase.
pub(crate) fn node_link(config: &Config) -> (String, u32) {
    let topic = config.settings.node_topic.to_str_lossy();
    let link = fill_in(NODE_LINK, &[("NODE_TOPIC", &topic)]);
    match passphrase(config) {
        none if none.is_empty() => (link, files::FILE_MODE),
        passphrase => (
            format!("{link}\n@ifdef ( Broker::ssl_passphrase )\n{passphrase}@endif\n"),
            files::SECRET_MODE,
        ),
    }
}

/// What a controller that we start must be told: the settings that both have.
pub(crate) fn controller(config: &Config) -> String {
    let mut script = "# What the agent was told.\n".to_owned();
    script += &dump_text(&common_settings(&config.daemon));
    script += &passphrase(config);
    script
}

/// Arguments can be read by every user of the host; a script of ours only by its owner.
fn passphrase(config: &Config) -> String {
    let identity = config.daemon.broker_tls.identity();
    match identity.and_then(|identity| identity.passphrase.as_ref()) {
        Some(passphrase) => fill_in(
            "redef Broker::ssl_passphrase = \"@PASSPHRASE@\";\n",
            &[("PASSPHRASE", passphrase.reveal())],
        ),
        None => String::new(),
    }
}

fn node(config: &Config, agent: Coordinates) -> String {
    let archival = config.settings.archival.as_ref();
    let rotation = config.daemon.management_log.rotation.as_ref();
    let queue = match (archival, rotation) {
        (Some(archival), _) => archival.directory.clone(),
        (None, Some(rotation)) => rotation.dir.display().to_string(),
        (None, None) => String::new(),
    };
    fill_in(
        NODE,
        &[
            ("AGENT_ADDRESS", &agent.address.to_string()),
            ("AGENT_PORT", &agent.port.show()),
            ("NODE_TOPIC", &config.settings.node_topic.to_str_lossy()),
            ("LOG_QUEUE", &queue),
        ],
    )
}

fn supervisor(config: &Config, zeek: &ZeekCommand) -> String {
    let address = config.supervisor.as_ref();
    let address = address.map_or("127.0.0.1", |address| address.host.as_str());
    let shim = if zeek.has_shim {
        "policy/frameworks/management/supervisor"
    } else {
        "./shim"
    };
    let mut script = fill_in(
        SUPERVISOR,
        &[
            ("SHIM", shim),
            ("SHIM_TOPIC", &config.settings.zeek.shim_topic.to_str_lossy()),
            ("CONTROL_TOPIC", &config.settings.zeek.topic.to_str_lossy()),
            ("ADDRESS", address),
        ],
    );
    // For nodes as well.
    script += &passphrase(config);
    script
}

/// Puts values in the place of their names, which stand between at signs. Within quotes of a script, they are escaped.
fn fill_in(script: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(script.to_owned(), |script, (name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        script.replace(&format!("@{name}@"), &value)
    })
}

/// Writes a script that may hold a passphrase.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), RunError> {
    write(path, text, files::SECRET_MODE).map(drop)
}

/// Writes a script, which a node may be reading, unless it is there. Returns whether it was not.
fn write(path: &Path, text: &str, mode: u32) -> Result<bool, RunError> {
    // On a full disk what is there is good enough.
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) && files::too_open(path).is_none() {
        return Ok(false);
    }
    let directory = path.parent().map_or(Ok(()), files::create_dir_all);
    let written = directory.and_then(|()| files::replace(path, text.as_bytes(), mode));
    written.map(|()| true).map_err(|source| RunError::Script {
        path: path.to_path_buf(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        assert_eq!(
            fill_in("x = \"@A@\"; @B@", &[("A", "q\"\\"), ("B", "1")]),
            "x = \"q\\\"\\\\\"; 1"
        );
    }

    #[test]
    fn scripts_have_no_other_placeholders() {
        let filled = [
            fill_in(
                NODE,
                &["AGENT_ADDRESS", "AGENT_PORT", "NODE_TOPIC", "LOG_QUEUE"].map(|name| (name, "x")),
            ),
            fill_in(
                SUPERVISOR,
                &["SHIM", "SHIM_TOPIC", "CONTROL_TOPIC", "ADDRESS"].map(|name| (name, "x")),
            ),
            fill_in(NODE_LINK, &[("NODE_TOPIC", "x")]),
            fill_in(SHIM, &["SHIM_TOPIC"].map(|name| (name, "x"))),
        ];
        for script in filled {
            let placeholder = script
                .split_whitespace()
                .find(|word| word.matches('@').count() > 1);
            assert_eq!(placeholder, None);
        }
    }
}
