//! The controller that the agent keeps, with `--with-controller`.

use std::{
    env,
    path::{Path, PathBuf},
};

use broker_codec::data::Port;
use mgmt_daemon::config::{COMMON, DaemonConfig, Effective, Origin, Resolver};

/// The controller's program.
const PROGRAM: &str = "mgmt-controller";

/// Where the controller listens, by Zeek's names. The agent looks there for one that it does not keep.
const PORTS: [&str; 2] = ["controller_port", "controller_default_port"];

/// How to start a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerCommand {
    pub program: PathBuf,
    /// What the operator wants it to be told, which wins over the settings that both have.
    redefs: Option<PathBuf>,
    /// Settings that are no redefinitions.
    options: Vec<String>,
    /// Where the agent was started: paths in its settings count from there.
    pub started_in: PathBuf,
}

impl ControllerCommand {
    /// What the agent was told to keep, if anything.
    pub(super) fn read(resolver: &mut Resolver<'_>) -> Option<Self> {
        let file: String = resolver.given("with_controller")?;
        if !resolver.given_list("controller").is_empty() {
            let reason = "the agent connects to the controller that it keeps; leave --controller out";
            resolver.refuse("with_controller", reason);
        }
        let redefs = (!file.is_empty()).then(|| resolver.absolute(file));
        resolver.show("with_controller", &redefs.clone().unwrap_or_default());
        // As a text, for its environment variable.
        if let Some(port) = resolver.given_text(PORTS[0]) {
            resolver.show(PORTS[0], &port);
        }
        if let Some(port) = resolver.given::<Port>(PORTS[1]) {
            resolver.show(PORTS[1], &port);
        }
        let own = env::current_exe().unwrap_or_default();
        let beside = own.with_file_name(PROGRAM);
        let program = Some(beside.clone()).filter(|beside| beside.is_file());
        let Some(program) = program.or_else(|| resolver.environment().program(PROGRAM)) else {
            let reason = format!("there is no {}, nor {PROGRAM} on PATH", beside.display());
            resolver.refuse("with_controller", reason);
            return None;
        };
        let program = resolver.absolute(program);
        resolver.annotate("with_controller", program.display().to_string());
        let mut options = Vec::new();
        for (key, option) in [("zeek_prefix", "--zeek-prefix"), ("log_level", "--log-level")] {
            if let Some(given) = resolver.given_text(key) {
                options.extend([option.to_owned(), given]);
            }
        }
        Some(Self {
            program,
            redefs,
            options,
            started_in: resolver.absolute(""),
        })
    }

    /// Its arguments, with the script of the settings that both have.
    pub(crate) fn arguments(&self, common: &Path) -> Vec<String> {
        let scripts = [Some(common), self.redefs.as_deref()];
        let redefs = scripts
            .into_iter()
            .flatten()
            .flat_map(|script| ["--redefs".to_owned(), script.display().to_string()]);
        redefs.chain(self.options.iter().cloned()).collect()
    }
}

/// The settings that the agent was given and the controller has as well, as far as a script can hold them; no secrets.
pub(crate) fn common_settings(config: &DaemonConfig) -> Vec<Effective> {
    let is_common = |key: &str| PORTS.contains(&key) || COMMON.iter().any(|setting| setting.key == key);
    let shown = config.resolved.effective.iter();
    shown
        .filter(|shown| is_common(shown.setting.key) && !shown.setting.zeek.is_empty())
        .filter(|shown| !shown.setting.secret)
        .filter(|shown| shown.origin != Origin::Default)
        .cloned()
        .collect()
}
