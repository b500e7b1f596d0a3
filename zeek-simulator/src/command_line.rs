use std::{collections::BTreeMap, env, ffi::OsString, fs, net::Ipv4Addr, time::Duration};

use broker_endpoint::{
    PeerAddress,
    tls::{TlsConfig, ZeekTlsOptions},
};

use crate::Failure;

/// The option by which a Supervisor starts a node; no Zeek has it.
pub(crate) const NODE_OPTION: &str = "--stand-in-node";

/// The option that has a simulation announced as one.
pub(crate) const SIMULATION_OPTION: &str = "--simulation";

/// The option by which a node starts a process that outlives it.
pub(crate) const LINGER_OPTION: &str = "--stand-in-linger";

/// The environment variable that says which node of its cluster a process is.
pub(crate) const NODE: &str = "CLUSTER_NODE";

/// The event of an agent's script for the Supervisor about the end of a node.
pub(crate) const NODE_END: &str = "MgmtAgent::node_end";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Invocation {
    Version,
    Supervise(CommandLine),
    Node(CommandLine),
    /// To be a node of a cluster that no Supervisor keeps, or only to see whether it could be.
    Unsupervised(CommandLine),
    Linger(Duration),
}

/// Scripts and settings, as they stand on a command line of Zeek.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandLine {
    /// All of it, to be passed on to nodes.
    pub(crate) words: Vec<String>,
    /// The scripts, those that scripts load included.
    pub(crate) scripts: Vec<String>,
    pub(crate) simulation: bool,
    /// Whether a script passes on what the Supervisor says about ends of nodes, as that of an agent does which starts it.
    pub(crate) tells_ends: bool,
    /// The file to write what it does into.
    pub(crate) status_file: Option<String>,
    /// The network interface to sniff.
    pub(crate) interface: Option<String>,
    /// The trace to read.
    pub(crate) trace: Option<String>,
    /// Whether scripts are only to be checked.
    pub(crate) checks: bool,
    settings: BTreeMap<String, String>,
}

impl Invocation {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut command_line = CommandLine::default();
        let mut supervises = false;
        let mut arguments = arguments.into_iter();
        let mut node = false;
        while let Some(argument) = arguments.next() {
            let word = argument.into_string().map_err(Failure::NotText)?;
            match word.as_str() {
                "--version" | "-v" => return Ok(Self::Version),
                "-j" | "--jobs" => supervises = true,
                // For real nodes only.
                "-C" | "--no-checksums" | "-b" | "--bare-mode" => command_line.words.push(word),
                word if word.starts_with("--pseudo-realtime") => {}
                "-a" | "--parse-only" => command_line.checks = true,
                "-U" | "--status-file" => command_line.status_file = Some(value(&word, arguments.next())?),
                "-i" | "--iface" => command_line.interface = Some(value(&word, arguments.next())?),
                "-r" | "--readfile" => command_line.trace = Some(value(&word, arguments.next())?),
                NODE_OPTION => node = true,
                SIMULATION_OPTION => command_line.simulation = true,
                LINGER_OPTION => {
                    let seconds = arguments
                        .next()
                        .and_then(|seconds| seconds.to_str()?.parse().ok());
                    let seconds = seconds.ok_or(Failure::Seconds(LINGER_OPTION))?;
                    return Ok(Self::Linger(Duration::from_secs(seconds)));
                }
                option if option.starts_with('-') => return Err(Failure::UnknownOption(word)),
                _ => command_line.add(word),
            }
        }
        if command_line.interface.is_some() && command_line.trace.is_some() {
            Err(Failure::TwoSources)
        } else if node {
            Ok(Self::Node(command_line))
        } else if supervises {
            Ok(Self::Supervise(command_line))
        } else if command_line.checks || variable(NODE).is_some() {
            Ok(Self::Unsupervised(command_line))
        } else {
            Err(Failure::NoJob)
        }
    }
}

/// What follows an option.
fn value(option: &str, value: Option<OsString>) -> Result<String, Failure> {
    let value = value.ok_or_else(|| Failure::NoValue(option.to_owned()))?;
    value.into_string().map_err(Failure::NotText)
}

impl CommandLine {
    fn add(&mut self, word: String) {
        match word.split_once('=') {
            Some((name, value)) if name.contains("::") => self.set(name, value),
            _ => self.load(&word),
        }
        self.words.push(word);
    }

    /// Settings on a command line count more than those of scripts, which are all read before.
    fn set(&mut self, name: &str, value: &str) {
        self.settings
            .insert(name.to_owned(), value.trim_matches('"').to_owned());
    }

    /// Of a script that is a file, understands `@load NAME` and `redef NAME = VALUE;`, a line each.
    fn load(&mut self, script: &str) {
        self.scripts.push(script.to_owned());
        let Ok(text) = fs::read_to_string(script) else {
            return;
        };
        self.tells_ends |= text.contains(NODE_END);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("@load ") {
                self.scripts.push(name.trim().to_owned());
            } else if let Some((name, value)) = line
                .strip_prefix("redef ")
                .and_then(|line| line.strip_suffix(';'))
                .and_then(|line| line.split_once('='))
            {
                self.settings
                    .entry(name.trim().to_owned())
                    .or_insert_with(|| value.trim().trim_matches('"').to_owned());
            }
        }
    }

    pub(crate) fn loads(&self, script: &str) -> bool {
        self.scripts
            .iter()
            .any(|loaded| loaded.trim_end_matches(".zeek") == script)
    }

    /// The value of a setting, if it is set to something.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.settings
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or(default).to_owned()
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name) {
            None | Some("F") => Ok(false),
            Some("T") => Ok(true),
            Some(found) => Err(Failure::Setting {
                name: name.to_owned(),
                expected: "T or F",
                found: found.to_owned(),
            }),
        }
    }

    pub(crate) fn port(&self, name: &str, default: u16) -> Result<u16, Failure> {
        self.text(name).map_or(Ok(default), |text| port(name, text))
    }

    /// How connections are protected, by Broker's settings.
    pub(crate) fn tls(&self) -> Result<TlsConfig, Failure> {
        let text = |name| self.text_or(name, "");
        let options = ZeekTlsOptions {
            disable_ssl: self.flag("Broker::disable_ssl")?,
            ssl_certificate: text("Broker::ssl_certificate"),
            ssl_keyfile: text("Broker::ssl_keyfile"),
            ssl_passphrase: text("Broker::ssl_passphrase"),
            ssl_cafile: text("Broker::ssl_cafile"),
            ssl_capath: text("Broker::ssl_capath"),
        };
        Ok(options.config()?)
    }

    /// Where a node finds its agent: `Management::Agent::endpoint_info`, as a node evaluates it.
    pub(crate) fn agent(&self) -> Result<PeerAddress, Failure> {
        let unspecified = Ipv4Addr::UNSPECIFIED.to_string();
        let host = self
            .text("Management::Agent::listen_address")
            .map(str::to_owned)
            .or_else(|| variable("ZEEK_AGENT_ADDR"))
            .unwrap_or_else(|| self.text_or("Management::default_address", &unspecified));
        let port = match (
            self.text("Management::Agent::listen_port"),
            variable("ZEEK_AGENT_PORT"),
        ) {
            (Some(text), _) => port("Management::Agent::listen_port", text)?,
            (None, Some(text)) => port("ZEEK_AGENT_PORT", &text)?,
            (None, None) => self.port("Management::Agent::default_port", 2151)?,
        };
        Ok(PeerAddress::new(host, port))
    }
}

/// An environment variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A port as Zeek's `to_port` reads it: with its protocol.
fn port(name: &str, text: &str) -> Result<u16, Failure> {
    text.strip_suffix("/tcp")
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Failure::Setting {
            name: name.to_owned(),
            expected: "a port such as 2151/tcp",
            found: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    fn parse(words: &[&str]) -> Result<Invocation, Failure> {
        Invocation::parse(words.iter().map(OsString::from))
    }

    fn supervise(words: &[&str]) -> CommandLine {
        match parse(words) {
            Ok(Invocation::Supervise(command_line)) => command_line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_line_is_read_as_zeek_reads_it() {
        let command_line = supervise(&[
            "-j",
            "policy/frameworks/management/agent",
            "Broker::disable_ssl=T",
            "Broker::default_port=10000/tcp",
            "Management::Agent::default_port=2152/tcp",
        ]);
        assert!(command_line.loads("policy/frameworks/management/agent"));
        assert!(matches!(command_line.tls(), Ok(TlsConfig::Off)));
        assert_eq!(command_line.port("Broker::default_port", 9999).unwrap(), 10000);
        assert_eq!(
            command_line.agent().unwrap(),
            PeerAddress::new("0.0.0.0", 2152),
            "as recorded of a second agent on a host"
        );
        assert!(matches!(supervise(&["-j"]).tls(), Ok(TlsConfig::Anonymous)));
    }

    #[test]
    fn a_script_that_is_a_file_is_read() {
        let file = env::temp_dir().join(format!("stand-ins-{}.zeek", process::id()));
        fs::write(
            &file,
            "# text\n@load policy/frameworks/cluster/backend/broker\nredef Broker::default_port = 10/tcp;\n",
        )
        .unwrap();
        let name = file.to_str().unwrap();
        let command_line = supervise(&["-j", name]);
        let overridden = supervise(&["-j", "Broker::default_port=11/tcp", name]);
        fs::remove_file(&file).unwrap();
        assert!(command_line.loads("policy/frameworks/cluster/backend/broker"));
        assert_eq!(command_line.port("Broker::default_port", 9999).unwrap(), 10);
        assert_eq!(overridden.port("Broker::default_port", 9999).unwrap(), 11);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |words| parse(words).unwrap_err().to_string();
        assert_eq!(
            error(&["-w"]),
            "error: a stand-in for Zeek has no option -w; it knows --version, -j, -a, -i, -r and -U"
        );
        assert_eq!(
            error(&["local"]),
            "error: a stand-in for Zeek analyses nothing; start it with -j, or with CLUSTER_NODE in its environment"
        );
        assert_eq!(error(&["-i"]), "error: option -i needs a value");
        assert_eq!(
            error(&["-i", "lo", "-r", "t.pcap"]),
            "Using -r is not allowed when reading a live interface."
        );
        let command_line = supervise(&["-j", "Broker::default_port=9999", "Broker::disable_ssl=yes"]);
        assert_eq!(
            command_line
                .port("Broker::default_port", 1)
                .unwrap_err()
                .to_string(),
            "error: Broker::default_port: expected a port such as 2151/tcp, found \"9999\""
        );
        assert_eq!(
            command_line.tls().unwrap_err().to_string(),
            "error: Broker::disable_ssl: expected T or F, found \"yes\""
        );
    }
}
