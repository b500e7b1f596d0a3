//! Whether systemd can keep nodes on this host.

use std::{path::Path, thread, time::Duration};

use tokio::{runtime::Builder, time::timeout};

use super::bus::Bus;

/// For systemd's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The instance by which it is found out whether there can be others. It is never started.
const PROBE: &str = "probe";

/// Whether systemd can keep nodes for this agent, whose nodes' directories are below this one; or why not. Waits for systemd's answer.
pub fn available(nodes: &Path) -> Result<(), String> {
    // sd_booted(3)
    if !Path::new("/run/systemd/system").is_dir() {
        return Err("systemd is not what has started this host".into());
    }
    // The caller may be in a runtime, or in none.
    let answer = thread::scope(|scope| scope.spawn(|| answer(nodes)).join());
    answer.unwrap_or_else(|_| Err("it was not found out".into()))
}

fn answer(nodes: &Path) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let answer = runtime.block_on(async { timeout(ANSWER_MAX, can_keep(nodes)).await });
    answer.unwrap_or_else(|_| Err("systemd does not answer over D-Bus".into()))
}

async fn can_keep(nodes: &Path) -> Result<(), String> {
    let (bus, _signals) = Bus::connect().await.map_err(|error| error.to_string())?;
    let service = bus.service(PROBE).await.map_err(|error| error.to_string())?;
    if let Some(reason) = service.foreign(&nodes.join(PROBE)) {
        return Err(reason);
    }
    // It is the right that starting takes.
    bus.set_memory(PROBE, None)
        .await
        .map_err(|error| error.to_string())
}
