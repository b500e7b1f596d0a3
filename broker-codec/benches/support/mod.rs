//! The inputs of the benchmarks.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use broker_codec::Envelope;
use bytes::Bytes;
use flate2::read::GzDecoder;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Input {
    Events,
    Config,
    Logs,
    Corpus,
}

fn lines(name: &str) -> impl Iterator<Item = String> + use<> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(name);
    BufReader::new(GzDecoder::new(File::open(path).unwrap()))
        .lines()
        .map(Result::unwrap)
}

impl Input {
    pub(crate) const ALL: [Self; 4] = [Self::Events, Self::Config, Self::Logs, Self::Corpus];

    /// Envelopes as they come in frames. The corpus has none.
    pub(crate) fn envelopes(self) -> Vec<Bytes> {
        let name = match self {
            Self::Events => "bench/management-events.hex.gz",
            Self::Config => "bench/config-2000-nodes.hex.gz",
            Self::Logs => "bench/log-batches.hex.gz",
            Self::Corpus => return Vec::new(),
        };
        lines(name)
            .map(|line| hex::decode(line).unwrap().into())
            .collect()
    }

    /// Values in the binary format.
    pub(crate) fn payloads(self) -> Vec<Bytes> {
        if !matches!(self, Self::Corpus) {
            let envelopes = self.envelopes().into_iter();
            return envelopes
                .map(|frame| Envelope::decode(frame).unwrap().payload)
                .collect();
        }
        ["values-1", "values-2", "values-utf8-3"]
            .into_iter()
            .flat_map(|name| lines(&format!("corpus/{name}.tsv.gz")))
            .map(|line| hex::decode(line.split('\t').next().unwrap()).unwrap().into())
            .collect()
    }
}
