//! Renews a certificate of the daemon's own, again and again, before it ends.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use broker_endpoint::{
    read_file,
    tls::{Certificate, RenewTls},
    with_causes,
};
use counters::Counters;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use crate::{
    Counted,
    process::{random_bytes, unix_time},
};

/// The longest time between two looks at the certificate: the clock may be set, and the file be another.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// The shortest time after which a renewal that has failed is tried again, and the longest.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// How often it is tried in the time that the certificate has left, if that is not too often.
const TRIES: u32 = 20;

/// Renews a certificate until it is dropped.
#[derive(Debug)]
pub struct Renewing {
    certificate: PathBuf,
    /// Why the latest renewal has failed, if it has.
    trouble: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Drop for Renewing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Renewing {
    /// Renews the certificate in this file when two thirds of its time are over: `renew` writes another one, and its key. Those of these connections
    /// that use it have it from then on.
    pub fn start<R>(
        certificate: PathBuf,
        tls: Vec<RenewTls>,
        counters: Counters<Counted>,
        renew: impl Fn() -> R + Send + 'static,
    ) -> Self
    where
        R: Future<Output = Result<(), String>> + Send,
    {
        let (tell, trouble) = watch::channel(None);
        let uses = |tls: &RenewTls| {
            tls.config()
                .identity()
                .is_some_and(|own| own.certificate == certificate)
        };
        let tls: Vec<RenewTls> = tls.into_iter().filter(uses).collect();
        let path = certificate.clone();
        let task = tokio::spawn(async move {
            loop {
                let left = wait(&path).await;
                let outcome = match renew().await {
                    Ok(()) => used(tls.clone()).await,
                    Err(reason) => Err(reason),
                };
                let is_done = outcome.is_ok();
                tell_of(outcome, &path, &counters, &tell);
                if !is_done {
                    sleep(retry(left)).await;
                }
            }
        });
        Self {
            certificate,
            trouble,
            task,
        }
    }

    /// The file.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Waits for the next renewal, or that one fails: for ever, where nothing is renewed. May be cancelled without losing anything.
    pub async fn changed(renewing: Option<&mut Self>) {
        let changed = match renewing {
            Some(renewing) => renewing.trouble.changed().await.is_ok(),
            None => false,
        };
        // The sender goes with the task.
        if !changed {
            std::future::pending::<()>().await;
        }
    }

    /// What keeps it from being renewed, if anything does.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.borrow();
        let reason = trouble.as_ref()?;
        let path = self.certificate.display();
        Some(format!(
            "the certificate in {path} cannot be renewed, and it is tried again: {reason}"
        ))
    }
}

/// Waits until the certificate should be renewed. Returns how much time it has left then.
async fn wait(path: &Path) -> Duration {
    loop {
        let Some((due, end)) = dates(path) else {
            // What cannot be read is to be made anew; where that cannot be done, there is no hurry.
            return RETRY_MAX * TRIES;
        };
        let now = unix_time();
        let Some(left) = due.checked_sub(now).filter(|left| !left.is_zero()) else {
            return end.saturating_sub(due);
        };
        sleep(left.min(LOOK)).await;
    }
}

/// When the certificate should be renewed, and when it ends, since 1970.
fn dates(path: &Path) -> Option<(Duration, Duration)> {
    let certificate = Certificate::from_pem(&read_file(path).ok()?).ok()?;
    let since = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Some((
        since(certificate.renewal().ok()?),
        since(certificate.valid().ok()?.end),
    ))
}

async fn used(tls: Vec<RenewTls>) -> Result<(), String> {
    let used = spawn_blocking(move || {
        tls.iter()
            .try_for_each(|tls| tls.renew().map_err(|error| with_causes(&error)))
    });
    used.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn tell_of(
    outcome: Result<(), String>,
    path: &Path,
    counters: &Counters<Counted>,
    tell: &watch::Sender<Option<String>>,
) {
    let path = path.display();
    match &outcome {
        Ok(()) => {
            counters.increment(Counted::CertificatesRenewed);
            tracing::info!("the certificate in {path} is renewed; connections that begin from now on use it");
        }
        Err(reason) => {
            counters.increment(Counted::CertificateRenewalsFailed);
            if tell.borrow().as_ref() == Some(reason) {
                tracing::debug!("the certificate in {path} can still not be renewed: {reason}");
            } else {
                tracing::warn!(
                    "the certificate in {path} cannot be renewed, and it is tried again: {reason}"
                );
            }
        }
    }
    tell.send_replace(outcome.err());
}

/// How long to wait after a failure: not all at the same time, when a controller comes back that all need.
fn retry(left: Duration) -> Duration {
    let step = (left / TRIES).clamp(RETRY_MIN, RETRY_MAX);
    let chance = random_bytes::<1>().map_or(0, |[chance]| chance);
    step / 2 + step * u32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_again_in_good_time_and_not_too_often() {
        let day = Duration::from_secs(24 * 60 * 60);
        for (left, least, most) in [
            (Duration::ZERO, 0.5, 1.5),
            (Duration::from_secs(200), 5.0, 15.0),
            (120 * day, 1800.0, 5400.0),
        ] {
            let wait = retry(left).as_secs_f64();
            assert!((least..=most).contains(&wait), "{left:?}: {wait}");
        }
    }
}
