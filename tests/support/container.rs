//! A container in which systemd is what has started it: `systemd-nspawn` with this host's own `/usr`, and everything else new, so that what is installed here can be
//! run there, and nothing has to be fetched; or with the root directory of another system.
//!
//! It needs root, systemd-nspawn (package systemd-container), dbus and polkitd, and a `/usr` in which all programs are.

use std::{
    fs,
    os::unix::{net::UnixDatagram, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::{
    limit::{Limit, end_of, output_of},
    network::Network,
    pending, workspace_root,
};

/// What the container needs of this host, and which Debian package has it.
const NEEDS: &[(&str, &str)] = &[
    ("/usr/bin/systemd-nspawn", "systemd-container"),
    ("/usr/bin/dbus-daemon", "dbus"),
    ("/usr/lib/polkit-1/polkitd", "polkitd"),
    ("/usr/bin/nsenter", "util-linux"),
];

/// Our files of systemd's and polkit's, and where an administrator would put them.
const PACKAGED: &[(&str, &str)] = &[
    ("zeek-node@.service", "/etc/systemd/system/zeek-node@.service"),
    // Where it is started only if a test wants that.
    ("mgmt-agent.service", "/opt/mgmt/mgmt-agent.service"),
    ("mgmt-controller.service", "/opt/mgmt/mgmt-controller.service"),
    ("agent.toml", "/opt/mgmt/agent.toml"),
    ("controller.toml", "/etc/zeek-mgmt/controller.toml"),
    ("zeek.slice", "/etc/systemd/system/zeek.slice"),
    ("zeek-mgmt-agent.sysusers", "/etc/sysusers.d/zeek-mgmt.conf"),
    ("50-zeek-node.rules", "/etc/polkit-1/rules.d/50-zeek-node.rules"),
];

/// The directories of its root that are its own and on a disk.
const OWN: [&str; 2] = ["etc", "var"];

/// Where programs of the workspace are in the container.
pub(crate) const PROGRAMS: &str = "/opt/mgmt";

#[derive(Debug)]
pub(crate) struct Container {
    /// What boots it.
    boot: Command,
    nspawn: Child,
    /// Its first process.
    leader: u32,
    cgroups: Vec<PathBuf>,
    notified: UnixDatagram,
    /// Of its own it has `/etc` and `/var`, which stay from boot to boot.
    directory: TempDir,
}

/// Why there can be no container on this host.
fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("only root can start a container".into());
    }
    if !fs::symlink_metadata("/bin").is_ok_and(|bin| bin.is_symlink()) {
        return Some("this host has programs outside /usr".into());
    }
    if !Path::new(SYSTEMD).exists() && hierarchies().is_empty() {
        return Some("no control groups are mounted on this host".into());
    }
    let lacking = NEEDS.iter().filter(|(program, _)| !Path::new(program).exists());
    let packages: Vec<&str> = lacking.map(|(_, package)| *package).collect();
    (!packages.is_empty()).then(|| format!("this host lacks {}", packages.join(", ")))
}

/// Whether containers can be started here. Says so if not.
pub(crate) fn is_possible() -> bool {
    let Some(why) = missing() else { return true };
    pending("systemd", "systemd", &why);
    false
}

impl Container {
    /// Boots one, with these programs of the workspace in [`PROGRAMS`], in a network of its own or in this one.
    pub(crate) fn boot(programs: &[&Path], network: Option<&Network>) -> Self {
        let directory = TempDir::with_prefix("container-").expect("a directory can be made");
        for own in OWN {
            fs::create_dir(directory.path().join(own)).expect("a directory can be made");
        }
        let mut arguments = vec!["--directory=/".to_owned(), "--volatile=yes".to_owned()];
        arguments.push(network.map_or_else(
            || "--private-network".to_owned(),
            |network| format!("--network-namespace-path={}", network.path().display()),
        ));
        arguments.extend(binds(directory.path(), programs));
        Self::boot_with(&arguments, directory)
    }

    /// Boots the system that is in the directory `root` of this one, in a network of its own.
    pub(crate) fn boot_root(directory: TempDir) -> Self {
        let root = format!("--directory={}", directory.path().join("root").display());
        Self::boot_with(&[root, "--private-network".to_owned()], directory)
    }

    fn boot_with(arguments: &[String], directory: TempDir) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mgmt-{}-{count}", std::process::id());
        let socket = directory.path().join("notify");
        let notified = UnixDatagram::bind(&socket).expect("a socket can be made");
        let cgroups = cgroups(&name);
        let mut command = Command::new("sh");
        // Whatever becomes of this process, the container does not outlive it.
        let enter = "for cgroup; do [ \"$cgroup\" = -- ] && break; echo $$ >\"$cgroup/cgroup.procs\"; shift; done; shift; exec setpriv --pdeathsig TERM \"$@\"";
        command.args(["-ec", enter, "sh"]).args(&cgroups).arg("--");
        command.args([
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--register=no",
            "--console=pipe",
        ]);
        command.args(["--notify-ready=yes", "--settings=no"]);
        if !cgroups.is_empty() {
            command.arg("--keep-unit");
        }
        // Which it passes on to the first process when it is told to end itself.
        command.args(["--kill-signal=SIGKILL", &format!("--machine={name}")]);
        command.args(arguments);
        // The first boot of a system asks for its settings.
        command.args(["systemd.firstboot=off", "systemd.unit=multi-user.target"]);
        // A signal for all of the tests is not for it: killed, it would leave the container behind.
        command.env("NOTIFY_SOCKET", &socket).process_group(0);
        let (nspawn, leader) = start(&mut command, &notified, directory.path());
        Self {
            boot: command,
            nspawn,
            leader,
            cgroups,
            notified,
            directory,
        }
    }

    /// Shuts it down as an administrator does, and boots it again.
    pub(crate) fn reboot(&mut self) {
        self.sh("systemctl poweroff");
        end_of(&mut self.nspawn, "the container");
        for cgroup in &self.cgroups {
            remove_below(cgroup);
        }
        (self.nspawn, self.leader) = start(&mut self.boot, &self.notified, self.directory.path());
    }

    /// A command in the container, as root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--target={}", self.leader), "--all", "--", program]);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/usr/sbin")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, line: &str) -> Output {
        let mut command = self.command("sh");
        let child = command
            .args(["-c", line])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        output_of(child.expect("a command can be run"), line)
    }

    /// Runs a line of shell there; it must succeed. What it prints, without spaces around it.
    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// What the container has of this host, and what is its own.
fn binds(directory: &Path, programs: &[&Path]) -> Vec<String> {
    let own = OWN.map(|own| format!("--bind={}:/{own}", directory.join(own).display()));
    let packaged = workspace_root().join("packaging/systemd");
    let packaged = PACKAGED
        .iter()
        .map(|(file, place)| format!("--bind-ro={}:{place}", packaged.join(file).display()));
    let programs = programs.iter().map(|program| {
        let file = program.file_name().expect("a program has a name").display();
        format!("--bind-ro={}:{PROGRAMS}/{file}", program.display())
    });
    own.into_iter().chain(packaged).chain(programs).collect()
}

/// Boots the container: `systemd-nspawn`, and the id of the first process in it.
fn start(boot: &mut Command, notified: &UnixDatagram, directory: &Path) -> (Child, u32) {
    let console = directory.join("console");
    let log = fs::File::create(&console).expect("a file can be made");
    let nspawn = boot
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log)
        .spawn();
    let nspawn = nspawn.expect("a container can be started");
    let leader = ready(notified).unwrap_or_else(|| {
        let console = fs::read_to_string(console).unwrap_or_default();
        panic!("the container does not start:\n{console}")
    });
    (nspawn, leader)
}

/// The id of the container's first process, as soon as it has booted.
fn ready(notified: &UnixDatagram) -> Option<u32> {
    let limit = Limit::new("a container that boots");
    let (mut leader, mut is_ready) = (None, false);
    while leader.is_none() || !is_ready {
        notified.set_read_timeout(Some(limit.left())).expect("a time");
        let mut buffer = [0; 4096];
        let length = notified.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        is_ready |= text.lines().any(|line| line == "READY=1");
        let pid = text
            .lines()
            .find_map(|line| line.strip_prefix("X_NSPAWN_LEADER_PID="));
        leader = pid.and_then(|pid| pid.parse().ok()).or(leader);
    }
    leader
}

/// Where it is, systemd runs the host (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";

/// The hierarchies of control groups that systemd needs.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let places = if root.join("cgroup.procs").exists() {
        vec![root.to_owned()]
    } else {
        vec![root.join("systemd"), root.join("unified")]
    };
    places.into_iter().filter(|place| place.exists()).collect()
}

/// Where no systemd gives a container a place among the control groups, it gets its own.
fn cgroups(name: &str) -> Vec<PathBuf> {
    if Path::new(SYSTEMD).exists() {
        return Vec::new();
    }
    let places = hierarchies().into_iter();
    let made: Vec<PathBuf> = places.map(|place| place.join(name)).collect();
    for cgroup in &made {
        fs::create_dir(cgroup).expect("a control group can be made");
    }
    made
}

impl Drop for Container {
    fn drop(&mut self) {
        // With its first process all others end.
        let leader = i32::try_from(self.leader).ok().and_then(Pid::from_raw);
        let _ = leader.map(|leader| kill_process(leader, Signal::KILL));
        let _ = self.nspawn.wait();
        for cgroup in &self.cgroups {
            // Processes leave it a moment after they have ended.
            for _ in 0..100 {
                remove(cgroup);
                if !cgroup.exists() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Removes a control group and those below it.
fn remove(cgroup: &Path) {
    remove_below(cgroup);
    let _ = fs::remove_dir(cgroup);
}

fn remove_below(cgroup: &Path) {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&entry.path());
    }
}
