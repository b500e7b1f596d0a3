//! The commands of pages are run, and print what is shown. A block of commands that nothing runs has a reason here.

use std::{fs, path::Path, process, time::Duration};

use super::{
    blocks::{self, Block, Command},
    shown::is_as_shown,
    site::Site,
    table::{
        BLOCKS,
        How::{By, Here, Not},
        row,
    },
};
use crate::support::{
    self, cluster::agent_binary, controller, limit::Limit, program::run_command, workspace_root,
};

/// How long it may take until what was begun is done: an agent obeys another controller after 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_block_of_commands_is_run_or_has_a_reason_why_not() {
    let mut without_block: Vec<(&str, &str)> =
        BLOCKS.iter().map(|(page, first, _)| (*page, *first)).collect();
    let mut wrong = Vec::new();
    for block in &blocks::all() {
        let name = (block.page.as_str(), block.first());
        match without_block.iter().position(|row| *row == name) {
            None => wrong.push(format!(
                "{name:?}: nothing runs it, and no row of BLOCKS says why"
            )),
            Some(at) => _ = without_block.remove(at),
        }
        match row(block) {
            Some(Here(_))
                if !include_str!("commands.rs").contains(&format!("run_blocks_of(\"{}\")", block.page)) =>
            {
                wrong.push(format!("{name:?}: no test runs the blocks of the page"));
            }
            Some(By(file, test)) => {
                let source = fs::read_to_string(workspace_root().join(file)).unwrap_or_default();
                if !source.contains(&format!("fn {test}(")) || !source.contains(&block.page) {
                    wrong.push(format!(
                        "{name:?}: {file} has no {test}, or does not read the page"
                    ));
                }
            }
            Some(Not("")) => wrong.push(format!("{name:?}: no reason")),
            _ => {}
        }
    }
    wrong.extend(
        without_block
            .iter()
            .map(|row| format!("{row:?}: a row of BLOCKS, and no block")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs the blocks of a page, each at a site of its own.
fn run_blocks_of(page: &str) {
    for block in blocks::all().into_iter().filter(|block| block.page == page) {
        if let Some(Here(scene)) = row(&block) {
            let mut site = Site::start();
            scene(&mut site);
            let mut exported = String::new();
            for command in Block::commands(&block.text) {
                if command.line.starts_with("export ") {
                    exported = site.translated(&command.host, &command.line);
                } else {
                    run(&mut site, &block, &without_terminal(command), &exported);
                }
            }
        }
    }
}

#[test]
fn clusters() {
    run_blocks_of("docs/clusters.md");
}

#[test]
fn configurations() {
    run_blocks_of("docs/configurations.md");
}

#[test]
fn mgmtctl() {
    run_blocks_of("docs/mgmtctl.md");
}

#[test]
fn monitoring() {
    run_blocks_of("docs/monitoring.md");
}

#[test]
fn day2() {
    run_blocks_of("docs/operate/day2.md");
}

#[test]
fn migrate() {
    run_blocks_of("docs/operate/migrate.md");
}

#[test]
fn revisions() {
    run_blocks_of("docs/revisions.md");
}

#[test]
fn rollouts() {
    run_blocks_of("docs/rollouts.md");
}

#[test]
fn secure() {
    run_blocks_of("docs/secure.md");
}

/// Nothing is asked where there is no terminal.
fn without_terminal(mut command: Command) -> Command {
    let deploys = command.line.contains(" deploy ") && !command.line.contains("--role deploy ");
    let asks = deploys || command.line.contains(" rollback");
    if asks && !command.line.contains("--yes") {
        command.line.push_str(" --yes");
        let asks = |line: &&str| line.starts_with("Deploy ") && line.contains("? [y/N]");
        let others: Vec<&str> = command.shown.lines().filter(|line| !asks(line)).collect();
        command.shown = others.join("\n");
    }
    command
}

/// Runs a command where its prompt says. What it prints is as it is shown; where nothing is shown, it ends well.
fn run(site: &mut Site, block: &Block, command: &Command, exported: &str) {
    let words: Vec<&str> = command.line.split(' ').collect();
    if let ["systemctl", verb, further @ ..] = &words[..] {
        return site.systemctl(&command.host, verb, further);
    }
    let line = site.translated(&command.host, &command.line);
    let shown = site.translated(&command.host, &command.shown);
    let script = script(site, &command.host, &format!("{exported}\n{line}"));
    let mut limit = Limit::lasting(PATIENCE, "");
    loop {
        let ran = run_command(process::Command::new("bash").args(["-c", &script]));
        let good = if shown.is_empty() {
            ran.exit == 0
        } else {
            is_as_shown(&shown, &ran.stdout)
        };
        if good {
            return;
        }
        let what = format!(
            "{}: {line}\nprints, with exit code {},\n{}\nand is shown as\n{shown}",
            block.page, ran.exit, ran.stdout
        );
        assert!(only_asks(&words), "{what}");
        limit.say(format_args!("another answer: {what}"));
        limit.left();
    }
}

/// What only asks can be asked again, until what was begun before is done.
fn only_asks(words: &[&str]) -> bool {
    const ASKS: [&str; 8] = [
        "status",
        "instances",
        "clusters",
        "deployments",
        "events",
        "diag",
        "logs",
        "whoami",
    ];
    let has = |asked: &[&str]| words.iter().any(|word| asked.contains(word));
    words[0] == "curl" || (words[0] == "mgmtctl" && has(&ASKS) && !has(&["delete", "deploy"]))
}

/// A command as an administrator of a host gives it. One that goes on is ended when it has said what it knows.
fn script(site: &mut Site, host: &str, line: &str) -> String {
    let (home, daemon) = site.place(host);
    let settings = site.settings(host);
    let write = |name: &str, further: &str| {
        let path = home.join(name);
        fs::write(&path, format!("{settings}{further}")).expect("it can be written");
        path.display().to_string()
    };
    let controller = write("controller.toml", "websocket_listen = \"127.0.0.1:0\"\n");
    let agent = write("agent.toml", "controller = \"off\"\n");
    let line = line.replace("mgmtctl events", "timeout 1 mgmtctl events");
    let (home, daemon) = (home.display(), daemon.display());
    format!(
        "exec 2>&1; cd {home}; export HOME={home} PATH={}:/usr/bin:/bin LC_ALL=C.UTF-8 MGMT_SOCKET={daemon}/control.sock \
         MGMT_CONTROLLER_CONFIG={controller} MGMT_AGENT_CONFIG={agent}\n{line}",
        programs().display()
    )
}

/// Where the workspace's programs are, which are all in one place.
pub(super) fn programs() -> &'static Path {
    let _built = (controller::binary(), agent_binary());
    support::mgmtctl::binary().parent().expect("it is in a directory")
}
