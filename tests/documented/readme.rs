//! The way into the README, as a new user goes it: exactly as it stands there but for what builds the programs and what opens a browser.

use std::process::Command;

use super::{blocks, commands::programs};
use crate::support::{home, not_tested, program::run_command, works};

/// How many commands it may take.
const COMMANDS_MAX: usize = 10;

/// In a network of its own, as all ports are Zeek's.
const ALONE: [&str; 4] = ["--map-root-user", "--net", "sh", "-c"];

/// The commands, of which one may have lines for its input.
fn commands(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut input = false;
    for line in text.lines() {
        if let Some(command) = commands.last_mut().filter(|_| input) {
            command.push('\n');
            command.push_str(line);
            input = line != "END";
        } else {
            commands.push(line.to_owned());
            input = line.contains("<<'END'");
        }
    }
    commands
}

/// What is done here in place of a command of README.md.
fn here(command: &str) -> String {
    const BROWSER: &str = "xdg-open ";
    match command {
        _ if command.starts_with("sudo apt ") || command.starts_with("cargo build ") => String::new(),
        // A new user types more slowly.
        _ if command.starts_with("mgmtctl deploy ") => {
            format!("until mgmtctl status; do sleep 0.1; done\n{command}")
        }
        _ if command.starts_with("mgmtctl token ") => format!("token=$({command})"),
        _ if command.starts_with(BROWSER) => {
            command.replace(BROWSER, "curl --fail --silent --show-error --user me:$token ")
        }
        _ => command.replace("$PWD/target/release", &programs().display().to_string()),
    }
}

#[test]
fn the_readme_leads_to_a_cluster_and_its_page() {
    if !works(
        Command::new("unshare")
            .args(ALONE)
            .arg("ip link set lo up && curl --version"),
    ) {
        return not_tested("README.md, where no network of one's own is allowed, or ip or curl is missing");
    }
    let block = blocks::all().into_iter().find(|block| block.page == "README.md");
    let commands = commands(&block.expect("it has commands").text);
    assert!(commands.len() <= COMMANDS_MAX, "{commands:#?}");
    let script: Vec<String> = commands.iter().map(|command| here(command)).collect();
    let home = home();
    let script = format!(
        "exec 2>&1\nset -e\nip link set lo up\ncd {}\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\ntrap 'kill $(jobs -p); wait' EXIT\n{}\n",
        home.path().display(),
        script.join("\n")
    );
    let ran = run_command(
        Command::new("unshare")
            .args(&ALONE[..2])
            .args(["bash", "-c", &script]),
    );
    let page = ran.printed();
    assert!(
        page.contains("<html") && page.contains("sensor1") && page.contains("worker-1"),
        "{page}"
    );
}
