//! Whether Linux lets Zeek be executed, and capture: capabilities(7).

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::obstacles::systemctl;
use rustix::{
    fs::getxattr,
    process::geteuid,
    thread::{CapabilitySet, capabilities, capability_is_in_bounding_set},
};

/// Where the capabilities of a file stand (`XATTR_NAME_CAPS`), and how many bytes they are at most (`struct vfs_ns_cap_data`).
const FILE_CAPABILITIES: &str = "security.capability";
const FILE_CAPABILITIES_BYTES_MAX: usize = 24;

/// What a process may have at most, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    may: CapabilitySet,
    of: &'static str,
    mend: &'static str,
}

impl Bounds {
    /// Of what the agent starts.
    pub(super) fn of_agent() -> Self {
        let may = CapabilitySet::all().iter();
        Self {
            may: may
                .filter(|each| capability_is_in_bounding_set(*each).unwrap_or(true))
                .collect(),
            of: "the agent",
            mend: "widen that of the agent",
        }
    }

    /// Of what systemd starts, as far as it says.
    pub(super) async fn of_units() -> Option<Self> {
        let property = "--property=CapabilityBoundingSet";
        let answer = systemctl(&["show", property, "--value", "zeek-node@probe.service"]).await?;
        let said = String::from_utf8(answer.stdout)
            .ok()
            .filter(|_| answer.status.success())?;
        let named = |word: &str| CapabilitySet::from_name(&word.strip_prefix("cap_")?.to_ascii_uppercase());
        Some(Self {
            may: said.split_whitespace().filter_map(named).collect(),
            of: "the unit zeek-node@.service",
            mend: "add it to CapabilityBoundingSet= by `systemctl edit zeek-node@.service`",
        })
    }
}

/// What a file gives to the process that executes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileRights {
    permitted: CapabilitySet,
    /// Whether the process has them at once, or is not executed at all.
    effective: bool,
}

/// Why nodes cannot run that are this program, if it is certain.
pub(super) fn executes(program: &Path, bounds: &Bounds) -> Option<String> {
    let file = of_file(program);
    let lacking = file.permitted.difference(bounds.may);
    let (name, _) = lacking.iter_names().next().filter(|_| file.effective)?;
    let name = format!("cap_{}", name.to_ascii_lowercase());
    Some(format!(
        "{} cannot be executed: it has the file capability {name}, which is not in the bounding set of {}: take it from the file by setcap, or {}",
        program.display(),
        bounds.of,
        bounds.mend
    ))
}

/// Why children of the agent that are this program cannot capture, if it is certain.
pub(super) fn captures(program: &Path, bounds: &Bounds) -> Option<String> {
    const RAW: CapabilitySet = CapabilitySet::NET_RAW;
    let is_setuid = fs::metadata(program).is_ok_and(|file| file.permissions().mode() & 0o4000 != 0);
    let has = if geteuid().is_root() || is_setuid {
        bounds.may.contains(RAW)
    } else {
        let is_inherited = capabilities(None).is_ok_and(|own| own.inheritable.contains(RAW));
        is_inherited || of_file(program).permitted.contains(RAW)
    };
    (!has).then(|| {
        format!(
            "it may not capture: neither the agent nor {0} has CAP_NET_RAW: run the agent as root, or `setcap cap_net_raw=ep {0}`",
            program.display()
        )
    })
}

fn of_file(program: &Path) -> FileRights {
    let none = FileRights {
        permitted: CapabilitySet::empty(),
        effective: false,
    };
    let mut value = [0; FILE_CAPABILITIES_BYTES_MAX];
    let read = getxattr(program, FILE_CAPABILITIES, &mut value);
    read.ok()
        .and_then(|length| decoded(&value[..length]))
        .unwrap_or(none)
}

/// `struct vfs_cap_data`: a word with revision and flag, then permitted and inheritable ones for each 32, all little-endian.
fn decoded(value: &[u8]) -> Option<FileRights> {
    const REVISION_1: u32 = 0x0100_0000;
    const EFFECTIVE: u32 = 1;
    let word = |at: usize| {
        Some(u32::from_le_bytes(
            value.get(4 * at..4 * at + 4)?.try_into().ok()?,
        ))
    };
    let magic = word(0)?;
    let high = if magic & 0xff00_0000 == REVISION_1 {
        0
    } else {
        word(3)?
    };
    let bits = u64::from(word(1)?) | u64::from(high) << 32;
    Some(FileRights {
        permitted: CapabilitySet::from_bits_retain(bits),
        effective: magic & EFFECTIVE != 0,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    /// `cap_net_raw` and `cap_net_admin`, both also inheritable: revision 2, effective.
    const RAW_AND_ADMIN: [u8; 20] = [1, 0, 0, 2, 0, 0x30, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn capabilities_of_a_file_are_read_as_linux_writes_them() {
        let both = CapabilitySet::NET_RAW.union(CapabilitySet::NET_ADMIN);
        let expected = FileRights {
            permitted: both,
            effective: true,
        };
        assert_eq!(decoded(&RAW_AND_ADMIN), Some(expected));
        for length in [0, 3, 7, 15] {
            assert_eq!(decoded(&RAW_AND_ADMIN[..length]), None, "{length}");
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "tells what was not tested")]
    fn a_program_with_more_than_the_bounding_set_has_is_refused_as_linux_refuses_it() {
        if !geteuid().is_root() {
            eprintln!("NOT TESTED: a program with more than the bounding set has, which takes root to make");
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("zeek");
        testkit::copy_executable(Path::new("/bin/true"), &program);
        let mut bounds = Bounds::of_agent();
        assert_eq!(executes(&program, &bounds), None);
        setxattr(&program, FILE_CAPABILITIES, &RAW_AND_ADMIN, XattrFlags::empty()).unwrap();
        let run = |bounding: &str| {
            Command::new("setpriv")
                .args(["--bounding-set", bounding])
                .arg(&program)
                .status()
        };
        assert_eq!(executes(&program, &bounds), None);
        assert!(run("+all").unwrap().success());

        bounds.may.remove(CapabilitySet::NET_ADMIN);
        let said = executes(&program, &bounds).expect("it is refused");
        assert!(
            said.contains("capability cap_net_admin, which is not in the bounding set of the agent"),
            "{said}"
        );
        let status = run("-net_admin").unwrap();
        assert_eq!(status.code(), Some(126), "setpriv cannot execute it");
    }

    #[test]
    fn without_the_capability_for_raw_sockets_root_cannot_capture() {
        let mut bounds = Bounds::of_agent();
        bounds.may.remove(CapabilitySet::NET_RAW);
        let said = captures(Path::new("/bin/true"), &bounds).expect("it cannot");
        assert!(
            said.starts_with("it may not capture: neither the agent nor /bin/true has CAP_NET_RAW"),
            "{said}"
        );
    }
}
