//! What was written down beside a capture: the management logs of its processes.

use std::{collections::BTreeMap, fs, io, path::Path};

use broker_codec::EndpointId;
use serde::Deserialize;

/// `scenario.json`, as far as it is of use here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Scenario {
    /// The management logs, by their path.
    #[serde(default)]
    management_logs: BTreeMap<String, String>,
}

impl Scenario {
    /// Reads `scenario.json`: nothing was written down if there is no such file.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The messages that the process with this endpoint ID logged, from INFO on. What it wrote after a rotation repeats
    /// lines, so only the longest of its logs counts.
    pub(super) fn log(&self, id: EndpointId) -> Option<Vec<String>> {
        let live = format!(" is live, Broker ID {id}");
        let log = self
            .management_logs
            .values()
            .filter(|log| log.contains(&live))
            .max_by_key(|log| log.len())?;
        let lines = log.lines().filter(|line| !line.starts_with('#'));
        let messages = lines.filter_map(|line| line.splitn(5, '\t').nth(4));
        Some(messages.map(str::to_owned).collect())
    }
}
