//! The CA of the controller's own, if it has one: agents get their certificates of it, once by an enrolment token, and from then on by the one that they
//! have.
//!
//! | file | what |
//! |---|---|
//! | `ca.pem`, `ca.key` | the CA, which is made at the first start |
//! | `controller.pem`, `controller.key` | the controller's certificate, which it issues to itself and renews |
//! | `enrolments.json` | which tokens there are |

mod enrolments;
mod files;
pub(crate) mod routes;

use std::{
    net::IpAddr,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use broker_endpoint::{
    tls::{
        AuthorityError, Certificate, CertificateAuthority, Fingerprint, PeerCertificate, PublicKey, RenewTls,
        Revoked,
    },
    with_causes,
};
use counters::Counters;
use mgmt_api::{
    WallClock,
    operator::{
        NotDone, NotDoneKind,
        enrolment::{
            CONTROLLER_PREFIX, Enrolled, EnrolmentToken, Enrolments, IssuedCertificate, MadeEnrolment,
            NewEnrolment, Renews, can_be_enrolled, host_and_port,
        },
    },
};
use mgmt_daemon::{
    Counted,
    process::unix_time,
    renewing::Renewing,
    secrets::{self, SecretsFile, broken, hash},
};
use tokio::task::spawn_blocking;

use self::enrolments::{Entry, Refused};
pub use self::files::{CaError, look};

/// For how long after its end a certificate is still good for its renewal.
const RENEWABLE: Seconds = 30 * 24 * 60 * 60;

/// The names of the files.
pub(crate) const CA_FILE: &str = "ca.pem";
pub(crate) const CA_KEY_FILE: &str = "ca.key";
pub(crate) const CERTIFICATE_FILE: &str = "controller.pem";
pub(crate) const KEY_FILE: &str = "controller.key";
pub(crate) const ENROLMENTS_FILE: &str = "enrolments.json";

/// Where they are, of a controller that works in this directory.
pub(crate) fn directory(working_dir: &Path) -> PathBuf {
    working_dir.join("ca")
}

/// Since 1970, or of them.
type Seconds = i64;

/// A CA of the controller's own.
#[derive(Clone, Debug)]
pub struct OwnCa {
    /// Where its files are, absolute.
    pub dir: PathBuf,
    /// The common name of the controller's certificate.
    pub common_name: String,
    /// The names and addresses of the controller.
    pub names: Vec<String>,
    /// How agents know the controller's host, unless they are told otherwise.
    pub host: String,
    /// How long certificates are valid.
    pub lifetime: Duration,
}

impl OwnCa {
    /// Whether the controller answers to this name or address in a request.
    fn is_known_as(&self, host: &str) -> bool {
        let is_named = |name: &String| match name.strip_prefix('*') {
            Some(end) => host.ends_with(end),
            None => name.eq_ignore_ascii_case(host),
        };
        host.parse::<IpAddr>().is_ok() || self.names.iter().any(is_named)
    }

    /// The controller's name.
    fn controller(&self) -> &str {
        self.common_name
            .strip_prefix(CONTROLLER_PREFIX)
            .unwrap_or(&self.common_name)
    }
}

/// The CA. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Authority(Arc<Own>);

#[derive(Debug)]
struct Own {
    config: OwnCa,
    ca: CertificateAuthority,
    /// When the CA is valid.
    valid: Range<Seconds>,
    /// The certificates that are not renewed.
    revoked: Revoked,
    /// Where agents reach the controller.
    ports: OnceLock<Ports>,
    enrolments: Mutex<SecretsFile<Entry>>,
}

/// The ports of the controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) broker: Option<u16>,
}

/// No certificate is issued.
#[derive(Debug)]
enum NotIssued {
    /// What was shown is nothing of ours: who has shown it may be guessing.
    Wrong(String),
    /// It was, and is not good any more.
    Refused(String),
    /// This instance has got too many.
    TooMany(String),
    /// It cannot be done now.
    Failed(NotDone),
}

impl Authority {
    /// Makes the CA and the controller's certificate, as far as they are not there.
    pub(crate) fn open(config: OwnCa, revoked: Revoked) -> Result<Self, CaError> {
        let ca = files::open(&config, now())?;
        files::keep_own(&config, &ca, now())?;
        let valid = ca.valid().map_err(CaError::Own)?;
        let enrolments = SecretsFile::new(config.dir.join(ENROLMENTS_FILE));
        Ok(Self(Arc::new(Own {
            config,
            ca,
            valid,
            revoked,
            ports: OnceLock::new(),
            enrolments: Mutex::new(enrolments),
        })))
    }

    /// The controller listens at these ports.
    pub(crate) fn listens(&self, ports: Ports) {
        // It is told once.
        let _ = self.0.ports.set(ports);
    }

    /// Why no agent accepts the CA now, if none does.
    pub(crate) fn failing(&self) -> Option<String> {
        let Own { config, valid, .. } = &*self.0;
        (!valid.contains(&now())).then(|| {
            format!(
                "the CA in {} is valid from {} to {} only: set the clock of this host; if that is right, move the directory away, restart the controller, and \
                 enrol all agents again",
                config.dir.display(),
                in_words(valid.start),
                in_words(valid.end)
            )
        })
    }

    /// Has the controller's own certificate renewed from now on.
    pub(crate) fn renewing(&self, tls: Vec<RenewTls>, counters: Counters<Counted>) -> Renewing {
        let own = self.clone();
        let path = own.0.config.dir.join(CERTIFICATE_FILE);
        Renewing::start(path, tls, counters, move || {
            let own = own.clone();
            async move {
                let kept = spawn_blocking(move || files::keep_own(&own.0.config, &own.0.ca, now())).await;
                let kept = kept.map_err(|error| error.to_string())?;
                kept.map_err(|error| with_causes(&error))
            }
        })
    }

    /// Makes an enrolment. Its token counts from now on.
    async fn enrol(&self, new: NewEnrolment) -> Result<MadeEnrolment, NotDone> {
        let Own {
            config, ca, ports, ..
        } = &*self.0;
        let ports = ports
            .get()
            .ok_or_else(|| NotDone::new(NotDoneKind::Unavailable, "the controller has just been started"))?;
        let url = match &new.url {
            None => format!("https://{}:{}", config.host, ports.http),
            Some(url) => url.trim_end_matches('/').to_owned(),
        };
        let invalid = |reason| NotDone::new(NotDoneKind::Invalid, reason);
        let (host, _) = host_and_port(&url).ok_or_else(|| {
            invalid(format!(
                "{url:?} is no URL of a controller, as in https://hub.example.org:2148"
            ))
        })?;
        if !config.is_known_as(host) {
            return Err(invalid(format!(
                "this controller is not known as {host} and refuses what is asked there: add it to http_host"
            )));
        }
        let own = PeerCertificate {
            subject: format!("CN={}", new.instance).into(),
            names: vec![new.instance.as_str().into()],
            fingerprint: Fingerprint([0; 32]),
        };
        if self.0.revoked.has(&own) {
            return Err(invalid(format!(
                "the deny list has {}: take it out of that first",
                new.instance
            )));
        }
        if config
            .names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&new.instance))
        {
            return Err(invalid(format!(
                "{} is a name of this controller's own: with a certificate for it an agent could pose as the controller",
                new.instance
            )));
        }
        let pin = ca.fingerprint().map_err(|error| unavailable(&error))?;
        let now = now();
        let (entry, secret) = Entry::make(&new, now)?;
        let enrolment = entry.shown();
        self.change(move |entries| enrolments::add(entries, entry, now))
            .await?;
        let enrolled = Enrolled {
            name: new.instance,
            url,
            broker: ports.broker,
            ca: pin.0,
        };
        let token = EnrolmentToken { enrolled, secret };
        Ok(MadeEnrolment {
            token: token.to_string(),
            enrolment,
        })
    }

    /// Those that wait for their agents.
    async fn pending(&self) -> Result<Enrolments, NotDone> {
        let own = self.clone();
        let read = spawn_blocking(move || own.enrolments().read()).await;
        let entries = read
            .map_err(|error| unavailable(&error))?
            .map_err(|reason| broken(&reason))?;
        let now = now();
        let pending = entries.iter().filter(|entry| entry.is_pending(now));
        Ok(Enrolments {
            enrolments: pending.map(Entry::shown).collect(),
        })
    }

    /// Which instance is enrolled by this secret, with this key.
    async fn claimed(&self, secret: &str, key: &PublicKey) -> Result<String, NotIssued> {
        let key = key.fingerprint().map_err(|error| unavailable(&error))?;
        let (secret, now) = (hash(secret), now());
        self.change(move |entries| Ok(enrolments::claim(entries, &secret, &key, now)?))
            .await
    }

    /// Whose certificate is to be renewed. All that makes one unfit for that is decided here.
    fn renewed(&self, renews: &Renews, request: &str) -> Result<String, NotIssued> {
        let wrong =
            |error: AuthorityError| NotIssued::Wrong(format!("the certificate to be renewed: {error}"));
        let old = Certificate::from_pem(renews.certificate.as_bytes()).map_err(wrong)?;
        if !self.0.ca.has_issued(&old).map_err(wrong)? {
            let reason = "the certificate to be renewed is not of this controller's CA: enrol again, by a token of mgmtctl enroll";
            return Err(NotIssued::Wrong(reason.to_owned()));
        }
        let signature = hex::decode(&renews.signature).unwrap_or_default();
        if !old.has_signed(request.as_bytes(), &signature).map_err(wrong)? {
            let reason = "the request is not signed by the key of the certificate to be renewed";
            return Err(NotIssued::Wrong(reason.to_owned()));
        }
        let old_is = old.describe().map_err(wrong)?;
        if self.0.revoked.has(&old_is) {
            return Err(NotIssued::Refused(format!(
                "the certificate {} is revoked (deny_list)",
                old_is.name()
            )));
        }
        let names = old_is.names;
        let name = names.first().and_then(|name| name.as_str()).unwrap_or_default();
        if !can_be_enrolled(name) {
            return Err(NotIssued::Refused("the certificate is not an agent's".to_owned()));
        }
        let end = old.valid().map_err(wrong)?.end;
        if end.saturating_add(RENEWABLE) < now() {
            return Err(NotIssued::Refused(format!(
                "the certificate of {name} has expired at {}, and can be renewed for 30 days after that: enrol again, by a token of mgmtctl enroll",
                in_words(end)
            )));
        }
        Ok(name.to_owned())
    }

    fn issue(&self, instance: &str, key: &PublicKey) -> Result<IssuedCertificate, AuthorityError> {
        let Own { config, ca, .. } = &*self.0;
        let lifetime = Seconds::try_from(config.lifetime.as_secs()).unwrap_or(Seconds::MAX);
        let valid = ca.valid_for(now(), lifetime)?;
        Ok(IssuedCertificate {
            certificate: ca.issue((instance, &[instance.to_owned()]), key, valid)?,
            ca: ca.certificate_pem()?,
        })
    }

    /// Changes the file of enrolments, unless that is refused; also if the client that has asked for it is gone meanwhile.
    async fn change<T, E>(
        &self,
        change: impl FnOnce(&mut Vec<Entry>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<NotDone> + Send + 'static,
    {
        let own = self.clone();
        let changed = spawn_blocking(move || own.enrolments().change(change)).await;
        let (_, answer) = changed.map_err(|error| unavailable(&error))??;
        Ok(answer)
    }

    fn enrolments(&self) -> MutexGuard<'_, SecretsFile<Entry>> {
        self.0.enrolments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<NotDone> for NotIssued {
    fn from(not_done: NotDone) -> Self {
        Self::Failed(not_done)
    }
}

impl From<Refused> for NotIssued {
    fn from(refused: Refused) -> Self {
        let again = "an administrator makes another one by mgmtctl enroll";
        match refused {
            Refused::Unknown => Self::Wrong(format!(
                "this is no enrolment token of this controller, or it was revoked: {again}"
            )),
            Refused::Expired { instance } => {
                Self::Refused(format!("the enrolment token for {instance} has expired: {again}"))
            }
            Refused::Used { instance } => Self::Refused(format!(
                "the enrolment token for {instance} was used already, with another key: if that was not on this host, revoke what it got; {again}"
            )),
        }
    }
}

/// Whether these are the bytes of such a file.
///
/// # Errors
///
/// If not.
pub(crate) fn check_enrolments(bytes: &[u8]) -> Result<(), String> {
    secrets::parse::<Entry>(bytes).map(drop)
}

fn unavailable(error: &dyn std::error::Error) -> NotDone {
    NotDone::new(NotDoneKind::Unavailable, with_causes(error))
}

fn now() -> Seconds {
    Seconds::try_from(unix_time().as_secs()).unwrap_or(Seconds::MAX)
}

/// As RFC 3339 has it.
fn in_words(time: Seconds) -> String {
    let since = Duration::from_secs(u64::try_from(time).unwrap_or_default());
    WallClock::from_unix(since).to_rfc3339()
}

#[cfg(test)]
mod tests;
