//! Fills `fuzz/corpus/<target>/` from the recordings and vectors of `fixtures/`.

use std::{
    error::Error,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use broker_codec::testing::delivery;
use flate2::read::GzDecoder;

/// Longer inputs slow the fuzzer down more than they show it.
const LEN_MAX: usize = 2048;

const RECORDINGS: [&str; 3] = ["zeek-9.0.0-rc1/a2c", "zeek-6.0.9/failing-node", "mixed/mixed-9-6"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut seeds = Seeds::default();
    for name in ["values-1", "values-2", "values-utf8-3"] {
        for line in lines(&format!("corpus/{name}.tsv.gz"))? {
            let line = line?;
            let mut columns = line.split('\t').map(hex::decode);
            seeds.add("value", &columns.next().ok_or("a line without columns")??)?;
            seeds.add("json", &columns.next().ok_or("a line of one column")??)?;
        }
    }
    for recording in RECORDINGS {
        for line in lines(&format!("{recording}/frames.jsonl.gz"))? {
            let frame: serde_json::Value = serde_json::from_str(&line?)?;
            let bytes = hex::decode(frame["hex"].as_str().ok_or("a frame without bytes")?)?;
            let framed = [&u32::try_from(bytes.len())?.to_be_bytes()[..], &bytes].concat();
            seeds.add("frame", &framed)?;
            if frame["phase"] == "handshake" {
                seeds.add("handshake", &delivery(0, &bytes))?;
            } else {
                seeds.add("envelope", &bytes)?;
            }
        }
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn lines(name: &str) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let file = File::open(root().join("fixtures").join(name))?;
    Ok(BufReader::new(GzDecoder::new(file)).lines())
}

#[derive(Default)]
struct Seeds {
    count: usize,
}

impl Seeds {
    fn add(&mut self, target: &str, input: &[u8]) -> Result<()> {
        if input.len() > LEN_MAX {
            return Ok(());
        }
        let folder = root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{:05}", self.count)), input)?;
        self.count += 1;
        Ok(())
    }
}
