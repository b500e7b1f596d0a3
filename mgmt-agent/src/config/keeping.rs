//! Who keeps the nodes: the setting `supervise`, and what implies it.

use std::path::Path;

use mgmt_daemon::config::{Choice, Notation, Origin, Resolver, Value};

use crate::{
    core::Supervise, desired::remembered_supervise, runtime::systemd::available::available, simulate,
};

/// Who keeps the nodes, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keeping {
    pub(super) supervise: Supervise,
    /// Whether the agent starts the `zeek -j` process that keeps them, rather than finds it.
    pub(super) starts_supervisor: bool,
    /// Whether they are stand-ins, and so is their Supervisor.
    pub(super) is_simulation: bool,
}

/// What the setting says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Auto,
    Set(Supervise),
}

impl Keeping {
    pub(super) fn read(resolver: &mut Resolver<'_>, directory: &Path) -> Self {
        let starts_zeek: bool = resolver.take("start_supervisor");
        let is_simulation: bool = resolver.take("simulate");
        for key in ["supervisor_timeout", "zeek_argument"] {
            if !starts_zeek && !resolver.given_list(key).is_empty() {
                resolver.refuse(key, "it is for --start-supervisor only");
            }
        }
        if starts_zeek && is_simulation {
            resolver.refuse(
                "simulate",
                "it cannot be used with --start-supervisor; choose one, or --simulate --supervise zeek",
            );
        }
        if is_simulation {
            resolver.warn(simulate::WARNING.into());
        }
        let supervise = supervise(resolver, directory, starts_zeek);
        Self {
            supervise,
            starts_supervisor: starts_zeek || (is_simulation && supervise == Supervise::Zeek),
            is_simulation,
        }
    }
}

/// Whether nodes end with the agent. Stand-ins that are left over would be taken for nodes.
pub(super) fn ends_nodes(resolver: &mut Resolver<'_>, keeping: Keeping) -> bool {
    const KEY: &str = "on_agent_exit";
    let implied = if keeping.is_simulation {
        OnExit::Stop
    } else {
        OnExit::Keep
    };
    let fate = resolver.given(KEY).unwrap_or(implied);
    resolver.show(KEY, &fate);
    fate == OnExit::Stop
}

/// What becomes of nodes when the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnExit {
    Keep,
    Stop,
}

impl Choice for OnExit {
    const EXPECTED: &'static str = "keep or stop";
    const NAMES: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("stop", Self::Stop)];
}

/// Whether all nodes are restarted when Zeek's program has changed.
pub(super) fn restarts_on_upgrade(resolver: &mut Resolver<'_>) -> bool {
    resolver.take::<OnUpgrade>("on_zeek_upgrade") == OnUpgrade::Restart
}

/// What happens when Zeek's program has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnUpgrade {
    Warn,
    Restart,
}

impl Choice for OnUpgrade {
    const EXPECTED: &'static str = "warn or restart";
    const NAMES: &'static [(&'static str, Self)] = &[("warn", Self::Warn), ("restart", Self::Restart)];
}

/// What is set; else what is implied; else what it was before; else systemd, where it can be.
fn supervise(resolver: &mut Resolver<'_>, directory: &Path, starts_zeek: bool) -> Supervise {
    const KEY: &str = "supervise";
    let named = ["supervisor_port", "supervisor_address"]
        .into_iter()
        .find(|key| !matches!(resolver.origin(key), Origin::Default | Origin::Environment(_)));
    let implied = if starts_zeek {
        Some("start_supervisor")
    } else {
        named
    };
    let wish = resolver.read(KEY);
    resolver.show(KEY, &wish);
    match (wish, implied) {
        (Wish::Set(Supervise::Zeek), _) => Supervise::Zeek,
        (Wish::Set(other), Some(key)) => {
            let reason = format!(
                "no Supervisor of Zeek's keeps nodes with --supervise {}",
                other.show()
            );
            resolver.refuse(key, reason);
            other
        }
        (Wish::Set(other), None) => {
            // It may be there when the agent is started.
            if let (Supervise::Systemd, Err(why)) =
                (other, available(directory.parent().unwrap_or(directory)))
            {
                resolver.warn(format!(
                    "option --supervise: systemd cannot keep nodes now: {why}"
                ));
            }
            other
        }
        (Wish::Auto, Some(_)) => {
            resolver.annotate(KEY, "zeek, as a Supervisor is named".to_owned());
            Supervise::Zeek
        }
        (Wish::Auto, None) => {
            let (supervise, why) = match remembered_supervise(directory) {
                Some(before) => (before, "as before".to_owned()),
                None if resolver.read("simulate") => (Supervise::Native, "for stand-ins".to_owned()),
                // Nodes are beside the agent's own directory.
                None => match available(directory.parent().unwrap_or(directory)) {
                    Ok(()) => (Supervise::Systemd, "as it runs this host".to_owned()),
                    Err(why) => (Supervise::Native, format!("as {why}")),
                },
            };
            resolver.annotate(KEY, format!("{}, {why}", supervise.show()));
            supervise
        }
    }
}

impl Choice for Supervise {
    const EXPECTED: &'static str = "systemd, native or zeek";
    const NAMES: &'static [(&'static str, Self)] = &[
        ("systemd", Self::Systemd),
        ("native", Self::Native),
        ("zeek", Self::Zeek),
    ];
}

impl Value for Wish {
    const EXPECTED: &'static str = "auto, systemd, native or zeek";

    fn read(text: &str, notation: Notation) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            _ => Supervise::read(text, notation).map(Self::Set),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Set(supervise) => supervise.show(),
        }
    }
}
