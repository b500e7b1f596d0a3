//! What `check-config` tries: whether the host has what the agent's settings name.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    process::{Command, Output},
};

use mgmt_daemon::{
    config::{Checks, Environment},
    lock::Lock,
};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::{
    config::{Config, ControllerCommand, LOCK, Listener, finds_script},
    core::Supervise,
    runtime::{cannot_rotate, supervisor_runs_in},
    scripts,
    supervisors::own::release_of,
};

/// Tries ports, the controller, Zeek, the archiver, scripts.
pub fn check(config: &Config, environment: &Environment, checks: &mut Checks<'_>) {
    let directory = &config.daemon.working_dir;
    let lock = directory.join(LOCK);
    checks.kept_file(&["directory", "state_dir"], &Lock::path(&lock));
    checks.listener(&["listen_port", "listen_address"], &config.listen, &lock);
    checks.http_listener(&config.daemon.http, &lock);
    // One that an earlier agent has left is taken over, or ended.
    if let (Some(supervisor), Some(_)) = (&config.supervisor, &config.start_supervisor)
        && !supervisor_runs_in(directory)
    {
        let supervisor = Listener::At(supervisor.clone());
        checks.listener(&["supervisor_port", "supervisor_address"], &supervisor, &lock);
    }
    if let Some(controller) = &config.with_controller {
        check_controller(controller, &scripts::controller(config), checks);
    }
    let is_own = config.settings.supervise != Supervise::Zeek;
    if is_own {
        check_directories(config, checks);
    }
    // A simulation has no Zeek to look at.
    if config.is_simulation {
        return;
    }
    if is_own {
        check_launch(config, checks);
    } else {
        check_zeek(config, checks);
    }
    check_archiver(config, environment, checks);
}

/// What nodes need that the agent starts itself: a Zeek of a release that it knows how to start, and the scripts that all of them load.
fn check_launch(config: &Config, checks: &mut Checks<'_>) {
    let launch = &config.settings.launch;
    let outcome = match (&config.installed_zeek.program, &launch.version) {
        (None, _) => Err(format!(
            "there is no zeek in {}/bin, nor on PATH, so no node can be started; name the installation by --zeek-prefix",
            config.zeek_prefix.display()
        )),
        (Some(program), None) => Err(format!(
            "{} --version does not say which Zeek it is, so no node can be started",
            program.display()
        )),
        (Some(_), Some(version)) => release_of(launch).map(|_| version.clone()),
    };
    let is_there = outcome.is_ok();
    checks.note(&["zeek_prefix"], outcome);
    if !is_there {
        return;
    }
    let path = launch.script_path.to_string();
    let folders: Vec<&Path> = path.split(':').map(Path::new).collect();
    for script in launch.site_scripts.iter().map(ToString::to_string) {
        let outcome = if finds_script(&folders, &script) {
            Ok(format!("script {script}"))
        } else {
            Err(format!(
                "there is no script {script} in {path}, and no node starts without"
            ))
        };
        checks.note(&["site_scripts"], outcome);
    }
}

/// Where nodes work that the agent starts itself, and where their rotated logs go.
fn check_directories(config: &Config, checks: &mut Checks<'_>) {
    let nodes = config.daemon.state_dir.join("nodes");
    // Before the agent's own directory is there, it is tried whether that can be made.
    if config.daemon.working_dir.is_dir() {
        checks.directory(&["state_dir"], &nodes);
    }
    let queue = config.settings.launch.log_queue.to_string();
    if let Some(reason) = cannot_rotate(&nodes, Path::new(&queue)) {
        checks.note(&["log_rotation_dir", "spool_dir"], Err(reason));
    }
}

/// What the controller's own check says.
fn check_controller(controller: &ControllerCommand, common: &str, checks: &mut Checks<'_>) {
    const KEY: &[&str] = &["with_controller"];
    let output = match ask_controller(controller, common) {
        Ok(output) => output,
        Err(error) => {
            let reason = format!("cannot run {}: {error}", controller.program.display());
            return checks.note(KEY, Err(reason));
        }
    };
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let line = line.trim_start_matches("mgmt-controller: ");
        match line.strip_prefix("warning: ") {
            Some(warning) => checks.warnings.push(format!("the controller: {warning}")),
            None => checks.note(
                KEY,
                Err(format!("the controller: {}", line.trim_start_matches("error: "))),
            ),
        }
    }
    let good = String::from_utf8_lossy(&output.stdout);
    checks.note(
        KEY,
        if output.status.success() {
            Ok(format!("the controller: {}", good.trim_end()))
        } else {
            Err(format!("the controller cannot be started so ({})", output.status))
        },
    );
}

/// Has the controller check its configuration. Nothing is written to a disk for that: it reads the settings that both have from a file in
/// memory. Of a pipe it would read what is there at the time.
fn ask_controller(controller: &ControllerCommand, common: &str) -> io::Result<Output> {
    let mut settings = File::from(memfd_create("settings", MemfdFlags::CLOEXEC)?);
    settings.write_all(common.as_bytes())?;
    Command::new(&controller.program)
        .arg("check-config")
        .args(controller.arguments(Path::new("/dev/stdin")))
        .current_dir(&controller.started_in)
        .stdin(settings)
        .output()
}

/// What a Supervisor of Zeek's is, and what it and its nodes load.
fn check_zeek(config: &Config, checks: &mut Checks<'_>) {
    let outcome = match (&config.installed_zeek.program, &config.installed_zeek.version) {
        (_, Some(version)) => Ok(version.clone()),
        // The Supervisor that is found need not be of an installation that is seen from here.
        (None, None) if config.settings.zeek.configured.is_some() => Ok("--zeek-version".to_owned()),
        (None, None) => Err(format!(
            "there is no zeek in {}/bin, nor on PATH; name the installation by --zeek-prefix, or what the Supervisor is by --zeek-version",
            config.zeek_prefix.display()
        )),
        (Some(program), None) => Err(format!(
            "{} --version does not say which Zeek it is",
            program.display()
        )),
    };
    checks.note(&["zeek_prefix"], outcome);
    let scripts = config.zeek_prefix.join("share/zeek");
    if !scripts.is_dir() {
        return;
    }
    let zeek = config.start_supervisor.iter();
    let arguments = zeek.flat_map(|zeek| &zeek.further_arguments);
    // Options, and settings.
    let named = arguments.filter(|argument| !argument.starts_with('-') && !argument.contains('='));
    let node_script = config.settings.node_script.to_string();
    let started_in = config.daemon.working_dir.join("supervisor");
    let folders = [
        &started_in,
        &scripts,
        &scripts.join("policy"),
        &scripts.join("site"),
    ];
    let folders = folders.map(|folder| &**folder);
    let of_nodes = Some(&node_script).filter(|_| config.own_node_script.is_none());
    let named = named.map(|script| ("zeek_argument", script));
    for (key, script) in named.chain(of_nodes.map(|script| ("node_script", script))) {
        let outcome = if finds_script(&folders, script) {
            Ok(format!("script {script}"))
        } else {
            Err(format!(
                "there is no script {script} in {} or its policy and site",
                scripts.display()
            ))
        };
        checks.note(&[key], outcome);
    }
}

fn check_archiver(config: &Config, environment: &Environment, checks: &mut Checks<'_>) {
    let Some(archival) = &config.settings.archival else {
        return;
    };
    // A line for a shell; what begins otherwise is for the shell to find out.
    let program = archival.command.split_whitespace().next().unwrap_or_default();
    if !program.contains(['"', '\'', '$', '=', '(']) {
        checks.program("archive_cmd", program, |name| environment.program(name));
    }
}
