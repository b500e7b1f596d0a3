//! The journal: everything that happened to the core, one JSON object a line, so that it can be made to happen again.
//!
//! ```text
//! {"journal":4,"program":"mgmt-controller 0.1.0","settings":{...},"seed":"5f..."}
//! {"now":{"secs":0,"nanos":412345},"input":{"Started":{...}}}
//! {"now":{"secs":4,"nanos":98765},"input":{"Request":{...}}}
//! ```
//!
//! The first line, the header, holds what the core started with. Its ids are drawn from a [`Seed`] there, so nothing else is
//! needed for [`replay`]. Lines are written by a thread of their own, in the order of the inputs and each as a whole: a process
//! that is killed may have seen a few more inputs than its journal has, and the last line may be cut off. Such a journal is
//! shorter, but good.

mod writer;

use std::{
    fmt,
    io::{self, BufRead, Write},
};

use mgmt_api::{IdSource, Now, UniqueIds, ids::ID_BYTES};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    log::{LogFormat, for_terminals},
    machine::Machine,
};

pub use self::writer::{ENTRIES_MAX, Journal};

#[cfg(test)]
mod tests;

/// The version of the format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 4;

/// How a core was when it started: the first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header<S> {
    /// [`FORMAT_VERSION`]
    journal: u32,
    /// Which program wrote the journal.
    program: String,
    #[serde(flatten)]
    pub start: S,
    /// What the ids come from.
    pub seed: Seed,
}

impl<S> Header<S> {
    /// Of a journal that this program writes.
    pub fn new(program: &str, start: S, seed: Seed) -> Self {
        Self {
            journal: FORMAT_VERSION,
            program: format!("{program} {}", env!("CARGO_PKG_VERSION")),
            start,
            seed,
        }
    }
}

/// Something that happened: any other line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry<I> {
    pub now: Now,
    pub input: I,
}

/// Random bytes from which ids are derived. Without them no id can be foreseen; with them all can be repeated.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(#[serde(with = "hex::serde")] [u8; Self::LEN]);

impl Seed {
    pub const LEN: usize = 32;

    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The ids: the n-th is made of the first bytes of the SHA-256 sum of seed and n.
    pub fn ids(&self) -> impl IdSource + use<> {
        let seed = self.0;
        let mut drawn: u64 = 0;
        UniqueIds::new(move || {
            drawn += 1;
            let sum = Sha256::new()
                .chain_update(seed)
                .chain_update(drawn.to_be_bytes())
                .finalize();
            let mut bytes = [0; ID_BYTES];
            std::iter::zip(&mut bytes, sum).for_each(|(byte, of_sum)| *byte = of_sum);
            bytes
        })
    }
}

/// Does not show the bytes.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    #[error("cannot read the journal")]
    Read(#[source] io::Error),
    #[error("cannot write what was done")]
    Write(#[source] io::Error),
    #[error("journal is empty")]
    Empty,
    #[error("line {line} is not one of a journal")]
    Line { line: usize, source: serde_json::Error },
    #[error("journal has format {found}, this program reads {FORMAT_VERSION}")]
    Version { found: u32 },
    #[error("this journal was written by {program:?}: this program cannot read its first line")]
    Header {
        program: String,
        source: serde_json::Error,
    },
}

/// What a replay went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub inputs: usize,
    pub actions: usize,
    /// Whether the last line is incomplete. It is left out.
    pub truncated: bool,
}

/// Makes everything happen again to a fresh core, and prints each input after `>` and what the core wants done after `<`,
/// as JSON.
pub fn replay<M: Machine>(journal: impl BufRead, mut out: impl Write) -> Result<Replayed, JournalError> {
    let mut lines = Lines {
        journal,
        number: 0,
        line: Vec::new(),
    };
    if !lines.advance()? {
        return Err(JournalError::Empty);
    }
    let Format {
        journal: found,
        program,
    } = lines.parse()?;
    if found != FORMAT_VERSION {
        return Err(JournalError::Version { found });
    }
    let header = serde_json::from_slice(&lines.line);
    let header = header.map_err(|source| JournalError::Header { program, source })?;
    let Header { start, seed, .. } = header;
    let mut machine = M::start(start, Box::new(seed.ids()));

    let mut replayed = Replayed::default();
    while lines.advance()? {
        let Entry { now, input } = match lines.parse::<Entry<M::Input>>() {
            Err(_) if !lines.line.ends_with(b"\n") => {
                replayed.truncated = true;
                break;
            }
            entry => entry?,
        };
        // It may be read at a terminal.
        let shown = |json: &str| for_terminals(json, LogFormat::Json);
        let input_line = shown(&String::from_utf8_lossy(lines.line.trim_ascii_end()));
        writeln!(out, "> {input_line}").map_err(JournalError::Write)?;
        replayed.inputs += 1;
        for action in machine.step(now, input) {
            let action = serde_json::to_string(&action).map_err(|error| JournalError::Write(error.into()))?;
            writeln!(out, "< {}", shown(&action)).map_err(JournalError::Write)?;
            replayed.actions += 1;
        }
    }
    out.flush().map_err(JournalError::Write)?;
    Ok(replayed)
}

/// What every version of the first line has.
#[derive(Deserialize)]
struct Format {
    journal: u32,
    #[serde(default)]
    program: String,
}

struct Lines<R> {
    journal: R,
    number: usize,
    /// Not text: the end of a journal that was cut off may be half a character.
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn advance(&mut self) -> Result<bool, JournalError> {
        self.line.clear();
        self.number += 1;
        let length = self.journal.read_until(b'\n', &mut self.line);
        Ok(length.map_err(JournalError::Read)? > 0)
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, JournalError> {
        serde_json::from_slice(&self.line).map_err(|source| JournalError::Line {
            line: self.number,
            source,
        })
    }
}
