//! The options of a node: those of Zeek, and those of this project, whose names begin with `mgmt.`.

use std::str::FromStr;

use broker_codec::data::ZeekString;
use mgmt_api::{CLUSTER_BACKEND, ClusterRole};

use crate::core::{
    NodeSpec,
    order::{Limits, PCAP_FILE},
};

const PREFIX: &[u8] = b"mgmt.";

/// No CPU has a higher number: that of the last one that a CPU set of the C library can hold (`CPU_SETSIZE`).
const CPU_MAX: u32 = 1023;

/// What the options of this project say about a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reserved {
    pub(super) limits: Limits,
    /// `mgmt.before_start`
    pub(super) before_start: Option<ZeekString>,
    /// `mgmt.pcap_file`
    pub(super) pcap_file: Option<ZeekString>,
}

impl Reserved {
    pub(super) fn of(spec: &NodeSpec) -> Result<Self, String> {
        let mut reserved = Self::default();
        if let Some(cpu) = spec.cpu_affinity {
            let number = u32::try_from(cpu).ok().filter(|number| *number <= CPU_MAX);
            let number = number.ok_or_else(|| format!("its cpu_affinity is {cpu}: {}", Needed::CPUS))?;
            reserved.limits.cpus = vec![number];
        }
        for (name, value) in &spec.options {
            if name.starts_with(PREFIX) {
                reserved
                    .take(spec, name, value)
                    .map_err(|Needed(needed)| format!("its option {name} is {value}: {needed}"))?;
            }
        }
        Ok(reserved)
    }

    fn take(&mut self, spec: &NodeSpec, name: &ZeekString, value: &ZeekString) -> Result<(), Needed> {
        let limits = &mut self.limits;
        let text = value.as_str().unwrap_or_default();
        match &name[PREFIX.len()..] {
            b"cpus" if spec.cpu_affinity.is_some() => {
                return Err(Needed(
                    "cpu_affinity says another thing, and one of them is enough",
                ));
            }
            b"cpus" => limits.cpus = cpus(text).ok_or(Needed(Needed::CPUS))?,
            b"nice" => {
                let nice = number(text).filter(|nice| (-20..=19).contains(nice));
                limits.nice = Some(nice.ok_or(Needed("a number from -20 to 19 is needed"))?);
            }
            b"memory_max" => {
                let needed = Needed("a number of bytes is needed, as in 1500M or 8G");
                limits.memory_max = Some(bytes(text).ok_or(needed)?);
            }
            b"open_files" => {
                let files = number(text).filter(|files| *files > 0);
                limits.open_files = Some(files.ok_or(Needed("a number above 0 is needed"))?);
            }
            b"numa" if is_numa(text) => limits.numa = Some(text.to_owned()),
            b"numa" => {
                return Err(Needed(
                    "a policy is needed, as in preferred:0, bind:0-1, interleave:all or local",
                ));
            }
            b"before_start" => self.before_start = Some(line(value)?),
            _ if *name == PCAP_FILE => self.pcap_file = Some(line(value)?),
            _ if *name == CLUSTER_BACKEND => {
                let role = spec.cluster.get(&spec.name).map(|own| own.role);
                if role != Some(ClusterRole::Manager) {
                    return Err(Needed("only the manager has this option, for the whole cluster"));
                }
            }
            _ => {
                return Err(Needed(
                    "there is no such option; those with mgmt. are the agent's",
                ));
            }
        }
        Ok(())
    }
}

/// What is wrong with a value, or needed instead.
struct Needed(&'static str);

impl Needed {
    const CPUS: &str = "numbers of CPUs from 0 to 1023 are needed, as in 2-5,8";
}

/// Zeek's own options, as `name=value`. Zeek puts quotes around the value where the option is a string, and reads anything else as an expression
/// (`scan.l`, `yywrap`).
///
/// DIFFERENCE(node-options): Zeek's agent ignores `Node.options`.
pub(super) fn assignments(spec: &NodeSpec) -> Result<Vec<ZeekString>, String> {
    let options = spec.options.iter().filter(|(name, _)| !name.starts_with(PREFIX));
    options
        .map(|(name, value)| {
            if !name.as_str().is_some_and(is_identifier) {
                return Err(format!(
                    "no option can be called '{name}': a name is needed, as in Log::default_rotation_interval"
                ));
            }
            line(value).map_err(|Needed(needed)| format!("its option {name} is {value}: {needed}"))?;
            Ok([name, b"=".as_slice(), value].concat().into())
        })
        .collect()
}

/// A text that can be an argument and a line.
fn line(value: &ZeekString) -> Result<ZeekString, Needed> {
    if value.is_empty() {
        Err(Needed("it cannot be empty"))
    } else if value.iter().any(|byte| b"\n\r\0".contains(byte)) {
        Err(Needed("one line without NUL is needed"))
    } else {
        Ok(value.clone())
    }
}

fn is_identifier(name: &str) -> bool {
    name.split("::").all(|part| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !part.is_empty() && part.bytes().all(is_name) && !part.as_bytes()[0].is_ascii_digit()
    })
}

/// A number, without a plus sign in front.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// A list of CPUs, or of NUMA nodes, such as `2-5,8`, in ascending order. It has no more parts than there may be CPUs.
pub fn cpus(text: &str) -> Option<Vec<u32>> {
    let mut are_named = [false; CPU_MAX as usize + 1];
    for (count, part) in text.split(',').enumerate() {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (number(first.trim())?, number(last.trim())?);
        if count >= are_named.len() || first > last {
            return None;
        }
        are_named.get_mut(first as usize..=last as usize)?.fill(true);
    }
    let named = (0..=CPU_MAX).zip(are_named).filter(|(_, is_named)| *is_named);
    Some(named.map(|(cpu, _)| cpu).collect())
}

/// A number of bytes; K, M and G are powers of 1024, as systemd has them.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = number::<u64>(digits)?.checked_mul(1 << shift)?;
    (bytes > 0).then_some(bytes)
}

fn is_numa(text: &str) -> bool {
    match text.split_once(':') {
        Some(("preferred", node)) => number::<u16>(node).is_some(),
        Some(("bind" | "interleave", nodes)) => nodes == "all" || cpus(nodes).is_some(),
        Some(_) => false,
        None => text == "local",
    }
}
