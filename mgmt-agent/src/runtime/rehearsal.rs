//! Whether Zeek can read what nodes are to load, before any node is touched: `zeek -a`, once for all nodes that would load the same.

use std::{
    ffi::OsStr, io, num::NonZero, os::unix::ffi::OsStrExt, path::Path, process::Stdio, sync::Arc, thread,
    time::Duration,
};

use broker_codec::data::{Excerpt, ZeekString};
use mgmt_api::{ClusterRole, link::Problem};
use mgmt_daemon::files;
use tokio::{
    io::{AsyncReadExt, copy, sink},
    process::Command,
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout_at},
};

use crate::{
    core::{LaunchSettings, NodeSpec},
    supervisors::own::{Launch, rehearsal},
};

/// How long all of it may take: controllers wait for a second longer. What has not ended by then says nothing of a node.
const TIMEOUT: Duration = Duration::from_secs(4);

/// How much of what Zeek says is looked at, in bytes. The rest is read and forgotten.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// How many lines of it are told, and how long each may be, in bytes.
const LINES_MAX: usize = 5;
const LINE_BYTES_MAX: usize = 1024;

/// With what the lines begin that say why Zeek ends.
const ERRORS: [&str; 4] = ["error", "fatal error", "internal error", "ERROR"];

/// What several nodes would load alike.
#[derive(Debug)]
struct Rehearsal {
    role: Option<ClusterRole>,
    launch: Launch,
    nodes: Vec<ZeekString>,
}

/// What Zeek says against these nodes, which can be launched. It works in this directory, which is made for that.
pub(super) async fn rehearse(
    specs: &[NodeSpec],
    settings: &LaunchSettings,
    directory: &Path,
) -> Vec<Problem> {
    let rehearsals = rehearsals(specs, settings, directory);
    let Some(first) = rehearsals.first() else {
        return Vec::new();
    };
    let (made, layout) = (directory.to_owned(), first.launch.layout.clone());
    let prepared = spawn_blocking(move || {
        files::create_dir_all(&made)?;
        files::write(&made.join("cluster-layout.zeek"), layout.as_bytes())
    });
    if let Err(error) = prepared.await.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, dir = %directory.display(), "cannot have Zeek check what nodes load");
        return Vec::new();
    }
    let found = run_all(rehearsals, directory).await;
    let made = directory.to_owned();
    // What is left is in the way of nothing.
    let _ = spawn_blocking(move || std::fs::remove_dir_all(made)).await;
    found
}

/// The nodes by what they would load. What is of a node alone, and makes no difference, is its name.
fn rehearsals(specs: &[NodeSpec], settings: &LaunchSettings, directory: &Path) -> Vec<Rehearsal> {
    let mut all: Vec<Rehearsal> = Vec::new();
    for spec in specs {
        let at = directory.as_os_str().as_bytes().into();
        let Ok(launch) = rehearsal(spec, settings, at) else {
            continue;
        };
        let role = spec.cluster.get(&spec.name).map(|own| own.role);
        let is_same = |other: &&mut Rehearsal| {
            let name = b"CLUSTER_NODE".as_slice();
            let mut environment = other.launch.environment.clone();
            environment.extend(
                launch
                    .environment
                    .get_key_value(name)
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
            other.role == role
                && other.launch.arguments == launch.arguments
                && environment == launch.environment
        };
        if let Some(same) = all.iter_mut().find(is_same) {
            same.nodes.push(spec.name.clone());
        } else {
            let nodes = vec![spec.name.clone()];
            all.push(Rehearsal { role, launch, nodes });
        }
    }
    all
}

/// As many at a time as the host has CPUs.
async fn run_all(rehearsals: Vec<Rehearsal>, directory: &Path) -> Vec<Problem> {
    let until = Instant::now() + TIMEOUT;
    let places = Arc::new(Semaphore::new(
        thread::available_parallelism().map_or(1, NonZero::get),
    ));
    let mut running = JoinSet::new();
    let count = rehearsals.len();
    for Rehearsal { launch, nodes, .. } in rehearsals {
        let (places, directory) = (places.clone(), directory.to_owned());
        running.spawn(async move {
            let ended = timeout_at(until, async {
                let _place = places.acquire().await;
                run(&launch, &directory).await
            });
            ended.await.ok().map(|lines| (nodes, lines))
        });
    }
    let ended: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    if ended.len() < count {
        let late = count - ended.len();
        tracing::warn!("Zeek has not checked in time what nodes load: {late} of {count} checks are left out");
    }
    let problems = ended.into_iter().flat_map(|(nodes, lines)| {
        nodes.into_iter().flat_map(move |node| {
            let problem = |line: &String| Problem::new(&node, line.as_str());
            lines.iter().map(problem).collect::<Vec<_>>()
        })
    });
    problems.collect()
}

/// Why Zeek would not start: nothing, if it would.
async fn run(launch: &Launch, directory: &Path) -> Vec<String> {
    let text = |bytes: &ZeekString| OsStr::from_bytes(bytes).to_owned();
    let mut command = Command::new(text(&launch.program));
    command
        .args(launch.arguments.iter().map(text))
        .env_clear()
        .envs(
            launch
                .environment
                .iter()
                .map(|(name, value)| (text(name), text(value))),
        )
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let ended = async {
        let mut child = command.spawn()?;
        let mut said = Vec::new();
        if let Some(mut stderr) = child.stderr.take() {
            (&mut stderr)
                .take(OUTPUT_BYTES_MAX)
                .read_to_end(&mut said)
                .await?;
            copy(&mut stderr, &mut sink()).await?;
        }
        io::Result::Ok((child.wait().await?, said))
    };
    match ended.await {
        Ok((status, _)) if status.success() => Vec::new(),
        Ok((status, said)) => {
            let lines = errors(&said);
            if lines.is_empty() {
                vec![format!("Zeek ends when it reads what the node loads: {status}")]
            } else {
                lines
            }
        }
        Err(error) => vec![format!("{} cannot be started: {error}", launch.program)],
    }
}

/// The lines that say why: those that are errors, else the last one.
fn errors(said: &[u8]) -> Vec<String> {
    let mut lines = said
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    let is_error = |line: &&[u8]| ERRORS.iter().any(|start| line.starts_with(start.as_bytes()));
    let mut told: Vec<&[u8]> = lines.clone().filter(is_error).take(LINES_MAX).collect();
    if told.is_empty() {
        told.extend(lines.next_back());
    }
    let shown = told
        .into_iter()
        .map(|line| Excerpt::new(line).at_most(LINE_BYTES_MAX));
    shown.map(|line| format!("zeek -a: {line}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf};

    use broker_codec::data::Port;

    use super::*;
    use crate::core::ClusterNode;

    /// A manager and two workers.
    fn specs() -> Vec<NodeSpec> {
        let node = |role, port| ClusterNode {
            role,
            host: IpAddr::from([10, 0, 0, 1]).into(),
            p: Some(Port::tcp(port)),
            interface: None,
            metrics_port: None,
        };
        let cluster: BTreeMap<ZeekString, ClusterNode> = [
            ("manager".into(), node(ClusterRole::Manager, 2200)),
            ("worker-1".into(), node(ClusterRole::Worker, 0)),
            ("worker-2".into(), node(ClusterRole::Worker, 0)),
        ]
        .into();
        let spec = |name: &ZeekString| NodeSpec {
            name: name.clone(),
            interface: Some("eth0".into()),
            directory: "/nonexistent/nodes".into(),
            cluster: Arc::new(cluster.clone()),
            ..NodeSpec::default()
        };
        cluster.keys().map(spec).collect()
    }

    /// A stand-in for Zeek that notes what it is told, and then does this.
    struct Stand {
        home: tempfile::TempDir,
        settings: LaunchSettings,
    }

    impl Stand {
        fn new(does: &str) -> Self {
            let home = tempfile::tempdir().unwrap();
            let zeek = home.path().join("zeek");
            let noted = home.path().join("noted");
            let script = format!("#!/bin/sh\necho $CLUSTER_NODE $* >>{}\n{does}\n", noted.display());
            testkit::write_executable(&zeek, &script);
            let settings = LaunchSettings {
                program: zeek.to_str().unwrap().into(),
                version: Some("zeek version 8.0.0".into()),
                path: "/usr/bin:/bin".into(),
                link_script: "/link.zeek".into(),
                ..LaunchSettings::default()
            };
            Self { home, settings }
        }

        fn scratch(&self) -> PathBuf {
            self.home.path().join("rehearsal")
        }

        async fn rehearse(&self, specs: &[NodeSpec]) -> Vec<String> {
            let found = rehearse(specs, &self.settings, &self.scratch()).await;
            assert!(!self.scratch().exists(), "nothing is left");
            let said = found
                .iter()
                .map(|problem| format!("{}: {}", problem.node, problem.reason));
            said.collect()
        }

        fn noted(&self) -> Vec<String> {
            let noted = fs::read_to_string(self.home.path().join("noted")).unwrap_or_default();
            let mut lines: Vec<String> = noted.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        }
    }

    #[tokio::test]
    async fn zeek_is_asked_once_for_nodes_that_load_the_same() {
        let stand = Stand::new("grep -q worker-2 cluster-layout.zeek && [ \"$PWD\" = \"${ZEEKPATH%%:*}\" ]");
        let mut specs = specs();
        assert!(stand.rehearse(&specs).await.is_empty());
        assert_eq!(
            stand.noted(),
            ["manager -a local /link.zeek", "worker-1 -a local /link.zeek"]
        );

        specs[2].env.insert("A".into(), "1".into());
        specs[2].options.insert("mgmt.nice".into(), "1".into());
        assert!(stand.rehearse(&specs[1..]).await.is_empty());
        let others = ["worker-1 -a local /link.zeek", "worker-2 -a local /link.zeek"];
        assert_eq!(stand.noted()[2..], others);
    }

    #[tokio::test]
    async fn whole_error_lines_are_told_of_each_node() {
        let says = "[ $CLUSTER_NODE = manager ] && exit 0\n\
                    echo warning in x: is deprecated >&2\n\
                    echo 'error in local.zeek, line 1: unknown identifier no_such, at or near \"no_such\"' >&2\n\
                    exit 1";
        let line = "zeek -a: error in local.zeek, line 1: unknown identifier no_such, at or near \"no_such\"";
        let expected = ["worker-1", "worker-2"].map(|node| format!("{node}: {line}"));
        assert_eq!(Stand::new(says).rehearse(&specs()).await, expected);
        // Without such a line, the last one.
        let specs = &specs()[2..];
        let said = Stand::new("echo one >&2; echo two >&2; echo >&2; exit 3")
            .rehearse(specs)
            .await;
        assert_eq!(said, ["worker-2: zeek -a: two"]);
        let said = Stand::new("exit 3").rehearse(specs).await;
        assert_eq!(
            said,
            ["worker-2: Zeek ends when it reads what the node loads: exit status: 3"]
        );
    }

    #[tokio::test]
    async fn much_output_is_read_and_little_of_it_told() {
        let says = "i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo error $i in a script of the site, line 1: no; done >&2; exit 1";
        let said = Stand::new(says).rehearse(&specs()[..1]).await;
        assert_eq!(said.len(), LINES_MAX, "{said:?}");
        assert_eq!(
            said[0],
            "manager: zeek -a: error 1 in a script of the site, line 1: no"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_zeek_that_does_not_end_says_nothing_of_its_nodes() {
        let stand = Stand::new("exec sleep 1000");
        assert!(stand.rehearse(&specs()).await.is_empty());
    }

    #[tokio::test]
    async fn a_zeek_that_is_not_there_is_named() {
        let mut stand = Stand::new("");
        stand.settings.program = "/nonexistent/zeek".into();
        let said = stand.rehearse(&specs()[..1]).await;
        assert_eq!(
            said,
            ["manager: /nonexistent/zeek cannot be started: No such file or directory (os error 2)"]
        );
    }
}
