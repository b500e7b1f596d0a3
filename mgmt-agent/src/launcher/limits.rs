//! What the system is to hold a node to, of what a process can ask for itself.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit},
    thread::{CapabilitySet, CpuSet, capabilities, sched_getaffinity, sched_setaffinity},
};

use crate::supervisors::own::{Launch, Limits};

/// Where programs are if the node's environment does not say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The system does not give a node what it is to have.
#[derive(Debug, thiserror::Error)]
#[error("node {node} cannot have {what}: {why}")]
pub(super) struct Refused {
    node: String,
    what: String,
    why: String,
}

/// How Zeek is executed with a policy for memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numactl {
    pub(super) program: PathBuf,
    pub(super) policy: String,
}

/// Sets the limits of this process. Returns what a policy for NUMA takes, if there is one.
pub(super) fn apply(launch: &Launch) -> Result<Option<Numactl>, Refused> {
    let limits = &launch.limits;
    let refused = |(what, why)| Refused {
        node: launch.node().to_string(),
        what,
        why,
    };
    open_files(limits.open_files).map_err(refused)?;
    cpus(&limits.cpus).map_err(refused)?;
    nice(limits).map_err(refused)?;
    numa(launch).map_err(refused)
}

/// What a node cannot have that this process starts, and why, of what can be seen without setting it: `1000000 open files: …`.
pub(super) fn foreseen(launch: &Launch) -> Option<String> {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let mut wanted = launch.limits.open_files.into_iter();
    let too_many = wanted.find(|wanted| *wanted > most && !may_raise(*wanted));
    let refused = too_many.map(|wanted| too_many_files(wanted, most, Errno::PERM));
    let (what, why) = refused.or_else(|| numa(launch).err())?;
    Some(format!("{what}: {why}"))
}

/// Whether this process may raise the limit of open files to this number (`setrlimit(2)`, `proc_sys_fs(5)`).
fn may_raise(wanted: u64) -> bool {
    let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    let most = fs::read_to_string("/proc/sys/fs/nr_open");
    let most = most.ok().and_then(|most| most.trim().parse().ok());
    may && most.is_none_or(|most: u64| wanted <= most)
}

fn numa(launch: &Launch) -> Result<Option<Numactl>, Why> {
    let path = launch.environment.get(b"PATH".as_slice());
    let path = path.map_or(PATH.as_bytes(), |path| path.as_bytes());
    let policy = launch.limits.numa.as_deref();
    policy.map(|policy| numactl(policy, path)).transpose()
}

/// What it cannot have, and why.
type Why = (String, String);

/// Without a number, as many as it may: Zeek's packet sources and scripts open many.
fn open_files(wanted: Option<u64>) -> Result<(), Why> {
    let may = getrlimit(Resource::Nofile);
    let limit = match wanted {
        None => Rlimit {
            current: may.maximum,
            ..may
        },
        Some(wanted) => Rlimit {
            current: Some(wanted),
            // None is no limit.
            maximum: may.maximum.map(|maximum| maximum.max(wanted)),
        },
    };
    let most = may.maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, limit)
        .map_err(|error| too_many_files(wanted.unwrap_or_default(), most, error))
}

fn too_many_files(wanted: u64, most: u64, error: Errno) -> Why {
    (
        format!("{wanted} open files"),
        format!("{error}; {most} is the most that its user may have, raise that or ask for fewer"),
    )
}

fn cpus(wanted: &[u32]) -> Result<(), Why> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in wanted {
        let cpu = usize::try_from(*cpu).unwrap_or(usize::MAX);
        if cpu < CpuSet::MAX_CPU {
            set.set(cpu);
        }
    }
    let outcome = sched_setaffinity(None, &set);
    // The system leaves out those that it does not have, without a word.
    let got = sched_getaffinity(None).unwrap_or_default();
    let is_got =
        |cpu: &&u32| usize::try_from(**cpu).is_ok_and(|cpu| cpu < CpuSet::MAX_CPU && got.is_set(cpu));
    let missing: Vec<String> = wanted
        .iter()
        .filter(|cpu| !is_got(cpu))
        .map(u32::to_string)
        .collect();
    if outcome.is_ok() && missing.is_empty() {
        return Ok(());
    }
    let (what, why) = match outcome {
        Ok(()) => (missing, String::from("the host has none of that number")),
        Err(error) => (wanted.iter().map(u32::to_string).collect(), error.to_string()),
    };
    Err((
        format!("CPU {}", what.join(", ")),
        format!("{why}, or it may not be used here; see Cpus_allowed_list in /proc/self/status"),
    ))
}

fn nice(limits: &Limits) -> Result<(), Why> {
    let Some(nice) = limits.nice else { return Ok(()) };
    setpriority_process(None, nice).map_err(|error| {
        let why = format!("{error}; below 0 takes the capability CAP_SYS_NICE or LimitNICE");
        (format!("nice {nice}"), why)
    })
}

/// The policy as `numactl` has it, which sets it for what it executes.
fn numactl(policy: &str, path: &[u8]) -> Result<Numactl, Why> {
    let (kind, nodes) = policy.split_once(':').unwrap_or((policy, ""));
    let is_nodes = !nodes.is_empty()
        && nodes
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b",-+!".contains(&byte));
    let option = match kind {
        "local" if nodes.is_empty() => "--localalloc".to_owned(),
        "preferred" if is_nodes => format!("--preferred={nodes}"),
        "bind" if is_nodes => format!("--membind={nodes}"),
        "interleave" if is_nodes => format!("--interleave={nodes}"),
        _ => {
            let why = "it is none of local, preferred:NODE, bind:NODES, interleave:NODES".into();
            return Err((format!("the NUMA policy {policy}"), why));
        }
    };
    let directories = path
        .split(|byte| *byte == b':')
        .map(|directory| Path::new(OsStr::from_bytes(directory)));
    let mut programs = directories.map(|directory| directory.join("numactl"));
    let found = programs.find(|program| program.is_absolute() && access(program, Access::EXEC_OK).is_ok());
    let Some(program) = found else {
        let path = String::from_utf8_lossy(path);
        let why = format!("it takes numactl, which is not in {path}: install it");
        return Err((format!("the NUMA policy {policy}"), why));
    };
    Ok(Numactl {
        program,
        policy: option,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_numa_policy_is_given_to_numactl_where_that_is_installed() {
        let home = tempfile::tempdir().unwrap();
        let path = format!("relative:/nonexistent:{}", home.path().display());
        let said = |policy: &str| numactl(policy, path.as_bytes());
        let (what, why) = said("bind:0").unwrap_err();
        assert_eq!(what, "the NUMA policy bind:0");
        assert!(why.contains("numactl") && why.ends_with("install it"), "{why}");
        let program = home.path().join("numactl");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        for (policy, option) in [
            ("local", "--localalloc"),
            ("preferred:0", "--preferred=0"),
            ("bind:0-1,3", "--membind=0-1,3"),
            ("interleave:all", "--interleave=all"),
        ] {
            let expected = Numactl {
                program: program.clone(),
                policy: option.into(),
            };
            assert_eq!(said(policy), Ok(expected), "{policy}");
        }
        for policy in [
            "",
            "local:0",
            "bind",
            "bind:",
            "bind:0 --physcpubind=1",
            "touch:0",
        ] {
            assert!(said(policy).is_err(), "{policy}");
        }
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        for wanted in [[4095].as_slice(), &[1023], &[u32::MAX]] {
            let (what, why) = cpus(wanted).unwrap_err();
            assert_eq!(what, format!("CPU {}", wanted[0]), "{why}");
        }
    }
}
