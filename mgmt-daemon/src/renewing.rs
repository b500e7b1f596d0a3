//! Renews a certificate of the daemon's own, again and again, before it ends.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
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

/// Why nothing is won by a renewal.
const DUE_AGAIN: &str = "the new one is not valid now, or due again at once: compare the clocks of this host and of the controller";

/// See [`pair`].
static PAIR: Mutex<()> = Mutex::new(());

/// To be held while a certificate and its key are replaced, one after the other, or read: in between they do not belong together.
pub fn pair() -> MutexGuard<'static, ()> {
    PAIR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Renews a certificate until it is dropped.
#[derive(Debug)]
pub struct Renewing {
    certificate: PathBuf,
    latest: watch::Receiver<Latest>,
    task: JoinHandle<()>,
}

/// What has come of the latest renewal.
#[derive(Debug, Default)]
struct Latest {
    /// Why it has failed, if it has.
    trouble: Option<String>,
    /// When the certificate ends that the latest one to succeed has brought, since 1970.
    end: Option<Duration>,
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
        let (tell, latest) = watch::channel(Latest::default());
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
                let mut renewed = renew().await;
                // What is renewed is not due again, and has to come into use.
                loop {
                    let outcome = match renewed.clone() {
                        Ok(()) => used(tls.clone(), path.clone()).await,
                        Err(reason) => Err(reason),
                    };
                    let is_done = matches!(outcome, Ok(Some(_)));
                    let outcome = outcome.and_then(|end| end.ok_or_else(|| DUE_AGAIN.to_owned()));
                    tell_of(outcome, &path, &counters, &tell);
                    if is_done {
                        break;
                    }
                    sleep(retry(left)).await;
                    if renewed.is_err() || is_due(&path).await {
                        renewed = renew().await;
                    }
                }
            }
        });
        Self {
            certificate,
            latest,
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
            Some(renewing) => renewing.latest.changed().await.is_ok(),
            None => false,
        };
        // The sender goes with the task.
        if !changed {
            std::future::pending::<()>().await;
        }
    }

    /// When the certificate ends, since 1970, if it was renewed.
    pub fn end(&self) -> Option<Duration> {
        self.latest.borrow().end
    }

    /// What keeps it from being renewed, if anything does.
    pub fn trouble(&self) -> Option<String> {
        let latest = self.latest.borrow();
        let reason = latest.trouble.as_ref()?;
        let path = self.certificate.display();
        Some(format!(
            "the certificate in {path} cannot be renewed, and it is tried again: {reason}"
        ))
    }
}

/// Waits until the certificate should be renewed. Returns how much time it has left then.
async fn wait(path: &Path) -> Duration {
    loop {
        let of = path.to_owned();
        let Ok(Some(dates)) = spawn_blocking(move || Dates::read(&of)).await else {
            // What cannot be read is to be made anew; where that cannot be done, there is no hurry.
            return RETRY_MAX * TRIES;
        };
        let Some(left) = dates.left(unix_time()) else {
            return dates.end.saturating_sub(dates.due);
        };
        sleep(left.min(LOOK)).await;
    }
}

async fn is_due(path: &Path) -> bool {
    let path = path.to_owned();
    let dates = spawn_blocking(move || Dates::read(&path)).await;
    !matches!(dates, Ok(Some(dates)) if dates.left(unix_time()).is_some())
}

/// Of a certificate, since 1970.
struct Dates {
    start: Duration,
    /// When it should be renewed.
    due: Duration,
    end: Duration,
}

impl Dates {
    fn read(path: &Path) -> Option<Self> {
        let certificate = Certificate::from_pem(&read_file(path).ok()?).ok()?;
        let since = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let valid = certificate.valid().ok()?;
        Some(Self {
            start: since(valid.start),
            due: since(certificate.renewal().ok()?),
            end: since(valid.end),
        })
    }

    /// How long it need not be renewed, if it is valid.
    fn left(&self, now: Duration) -> Option<Duration> {
        let left = self.due.checked_sub(now).filter(|left| !left.is_zero());
        left.filter(|_| self.start <= now)
    }
}

/// Has the certificate used by these. Returns when it ends, unless it is due for another renewal already.
async fn used(tls: Vec<RenewTls>, path: PathBuf) -> Result<Option<Duration>, String> {
    let used = spawn_blocking(move || {
        let _pair = pair();
        let mut renewed = tls.iter().map(RenewTls::renew);
        renewed
            .try_for_each(|renewed| renewed.map_err(|error| with_causes(&error)))
            .map(|()| {
                let dates = Dates::read(&path)?;
                dates.left(unix_time()).map(|_| dates.end)
            })
    });
    used.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn tell_of(
    outcome: Result<Duration, String>,
    path: &Path,
    counters: &Counters<Counted>,
    tell: &watch::Sender<Latest>,
) {
    let path = path.display();
    let (trouble, end) = match outcome {
        Ok(end) => {
            counters.increment(Counted::CertificatesRenewed);
            tracing::info!("the certificate in {path} is renewed; connections that begin from now on use it");
            (None, Some(end))
        }
        Err(reason) => {
            counters.increment(Counted::CertificateRenewalsFailed);
            if tell.borrow().trouble.as_ref() == Some(&reason) {
                tracing::debug!("the certificate in {path} can still not be renewed: {reason}");
            } else {
                tracing::warn!(
                    "the certificate in {path} cannot be renewed, and it is tried again: {reason}"
                );
            }
            (Some(reason), None)
        }
    };
    tell.send_modify(|latest| {
        latest.trouble = trouble;
        latest.end = end.or(latest.end);
    });
}

/// How long to wait after a failure: not all at the same time, when a controller comes back that all need.
fn retry(left: Duration) -> Duration {
    let step = (left / TRIES).clamp(RETRY_MIN, RETRY_MAX);
    let chance = random_bytes::<1>().map_or(0, |[chance]| chance);
    step / 2 + step * u32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use broker_endpoint::tls::{CertificateAuthority, Identity, PrivateKey, TlsConfig, TlsContext};

    use super::*;

    #[tokio::test]
    async fn a_certificate_is_not_used_with_the_key_of_another() {
        let now = i64::try_from(unix_time().as_secs()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let ca = CertificateAuthority::create("CA", key, now - 60..now + 600).unwrap();
        let home = tempfile::tempdir().unwrap();
        let identity = Identity {
            certificate: home.path().join("own.pem"),
            key: home.path().join("own.key"),
            passphrase: None,
        };
        let (certificate, key) = (identity.certificate.clone(), identity.key.clone());
        let replace = move || {
            let new = PrivateKey::generate().unwrap();
            let issued = ca.issue(("a", &[]), &new.public().unwrap(), now - 60..now + 600);
            let _pair = pair();
            fs::write(&key, new.to_pem().unwrap()).unwrap();
            fs::write(&certificate, issued.unwrap()).unwrap();
        };
        replace();
        let config = TlsConfig::ServerCertificate(identity.clone());
        let context = TlsContext::new(&config).unwrap().unwrap();
        let tls = RenewTls::new(config, context);
        let replacing = thread::spawn(move || (0..100).for_each(|_| replace()));
        while !replacing.is_finished() {
            let end = used(vec![tls.clone()], identity.certificate.clone()).await;
            assert!(end.unwrap().is_some());
        }
        replacing.join().unwrap();
    }

    #[test]
    fn a_certificate_is_due_when_two_thirds_are_over_and_before_it_begins() {
        let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
        let dates = Dates {
            start: hours(10),
            due: hours(30),
            end: hours(40),
        };
        assert_eq!(dates.left(hours(10)), Some(hours(20)));
        assert_eq!(dates.left(hours(29)), Some(hours(1)));
        for now in [9, 30, 40, 41] {
            assert_eq!(dates.left(hours(now)), None, "{now}");
        }
    }

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
