//! Who may what: tokens, and roles of certificates, as they are now.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use broker_endpoint::tls::PeerCertificate;
use jiff::Timestamp;
use mgmt_api::{
    Certificate,
    access::Grant,
    operator::{MadeToken, NewToken, NotDone, NotDoneKind, Token, Tokens},
};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    config::{DaemonConfig, RoleLine},
    files,
    secrets::{Hash, SecretsFile, hash, place_of},
    tokens::{self, Entry},
};

/// Who may what. Clones are the same.
#[derive(Clone, Debug)]
pub struct Grants(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Mutex<SecretsFile<Entry>>,
    known: Mutex<Known>,
    /// Tells of changes.
    changes: watch::Sender<()>,
}

/// What is in use.
#[derive(Debug)]
pub(crate) struct Known {
    tokens: Vec<Entry>,
    roles: Vec<RoleLine>,
    /// How often tokens were made and revoked before.
    version: u64,
}

/// What one has shown who asks.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Token(Hash),
    Certificate(PeerCertificate),
}

/// What a principal keeps of the certificate that it has shown.
pub fn principals(certificate: Option<&PeerCertificate>) -> Option<Certificate> {
    certificate.map(|shown| Certificate {
        subject: shown.subject.clone(),
        fingerprint: shown.fingerprint.to_string(),
    })
}

impl Shown {
    pub(crate) fn token(secret: &str) -> Self {
        Self::Token(hash(secret))
    }
}

/// What comes of what one has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recognized {
    /// The token of this name.
    Token(String, Grant),
    /// The token of this name, which has expired.
    Expired(String),
    /// No token of ours.
    Unknown,
    /// A certificate, which may have no role.
    Certificate(Grant),
}

impl Grants {
    /// As configured. With a file that cannot be used there are no tokens.
    pub(crate) fn start(config: &DaemonConfig) -> Self {
        Self::with(&config.http.tokens, config.roles.clone())
    }

    /// With this file of tokens, and these lines.
    pub(crate) fn with(path: &Path, roles: Vec<RoleLine>) -> Self {
        files::warn_of_open([path]);
        let file = SecretsFile::new(path.to_owned());
        let tokens = file.read().unwrap_or_else(|reason| {
            tracing::error!(
                "{reason}; no token is in use until it is mended and this daemon reloads (SIGHUP, or mgmtctl reload)"
            );
            Vec::new()
        });
        let known = Known {
            tokens,
            roles,
            version: 0,
        };
        Self(Arc::new(Shared {
            file: Mutex::new(file),
            known: Mutex::new(known),
            changes: watch::Sender::default(),
        }))
    }

    /// What is in the file, and these roles.
    ///
    /// # Errors
    ///
    /// If the file cannot be used.
    pub(crate) fn read(&self, roles: Vec<RoleLine>) -> Result<Known, String> {
        let version = self.known().version;
        Ok(Known {
            tokens: lock(&self.0.file).read()?,
            roles,
            version,
        })
    }

    /// Uses this from now on. Tokens that were made or revoked since it was read stay so.
    pub(crate) fn take(&self, read: Known) {
        let mut known = self.known();
        if known.version == read.version {
            known.tokens = read.tokens;
        }
        known.roles = read.roles;
        drop(known);
        self.0.changes.send_replace(());
    }

    /// Who has shown this.
    pub(crate) fn recognize(&self, shown: &Shown) -> Recognized {
        let known = self.known();
        match shown {
            Shown::Token(hash) => {
                let found = place_of(&known.tokens, hash);
                match found.and_then(|place| known.tokens.get(place)) {
                    None => Recognized::Unknown,
                    Some(token) if token.has_expired(Timestamp::now()) => {
                        Recognized::Expired(token.name().to_owned())
                    }
                    Some(token) => Recognized::Token(token.name().to_owned(), token.grant()),
                }
            }
            Shown::Certificate(certificate) => {
                Recognized::Certificate(RoleLine::grant(&known.roles, Some(certificate)))
            }
        }
    }

    /// What one may on a port where certificates alone say who asks: none if no roles are set, so that each may request everything.
    pub fn of(&self, certificate: Option<&PeerCertificate>) -> Option<Grant> {
        let known = self.known();
        (!known.roles.is_empty()).then(|| RoleLine::grant(&known.roles, certificate))
    }

    /// Tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// The tokens, in the order in which they were made.
    pub(crate) fn list(&self) -> Tokens {
        Tokens {
            tokens: self.known().tokens.iter().map(Entry::token).collect(),
        }
    }

    /// Makes a token, which counts from now on.
    pub(crate) async fn create(&self, new: NewToken) -> Result<MadeToken, NotDone> {
        let (entry, made) = Entry::make(new, Timestamp::now())?;
        self.change(move |tokens| tokens::add(tokens, entry)).await?;
        Ok(made)
    }

    /// Deletes a token, which counts no more.
    pub(crate) async fn revoke(&self, name: String) -> Result<Token, NotDone> {
        self.change(move |tokens| {
            let place = tokens.iter().position(|token| token.name() == name);
            let place = place.ok_or_else(|| {
                NotDone::new(
                    NotDoneKind::Unknown,
                    format!("there is no token {}", name.escape_debug()),
                )
            })?;
            Ok(tokens.remove(place).token())
        })
        .await
    }

    /// Changes the file, unless that is refused, and then what is in use, also if the client that has asked for it is gone meanwhile.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Vec<Entry>) -> Result<T, NotDone> + Send + 'static,
    ) -> Result<T, NotDone> {
        let grants = self.clone();
        let changed = spawn_blocking(move || {
            let mut file = lock(&grants.0.file);
            // What the file does not have is in use no longer, also where the change is refused for that.
            let (tokens, answer) = file.change(|tokens| Ok::<_, NotDone>(change(tokens)))?;
            let mut known = grants.known();
            known.tokens = tokens;
            known.version += 1;
            drop(known);
            grants.0.changes.send_replace(());
            answer
        });
        let changed = changed.await;
        changed.map_err(|error| NotDone::new(NotDoneKind::Unavailable, error.to_string()))?
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0.known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        task::{Context, Waker},
    };

    use broker_endpoint::tls::Fingerprint;
    use mgmt_api::access::Role;

    use super::*;

    fn with_file(path: &Path) -> Grants {
        Grants::with(path, Vec::new())
    }

    fn new(name: &str, seconds: Option<u64>) -> NewToken {
        NewToken {
            name: name.to_owned(),
            role: Role::Read,
            clusters: None,
            seconds,
        }
    }

    #[tokio::test]
    async fn a_token_counts_from_when_it_is_made_until_it_is_revoked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokens.json");
        let grants = with_file(&path);
        let mut changes = grants.changes();
        let made = grants.create(new("prometheus", None)).await.unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let shown = Shown::token(&made.secret);
        let expected = Recognized::Token("prometheus".to_owned(), Grant::of(Role::Read, None));
        assert_eq!(grants.recognize(&shown), expected);
        assert_eq!(grants.recognize(&Shown::token("prometheus")), Recognized::Unknown);
        // As after a restart.
        assert_eq!(with_file(&path).recognize(&shown), expected);

        assert_eq!(
            grants.revoke("other".to_owned()).await.unwrap_err().kind,
            NotDoneKind::Unknown
        );
        assert_eq!(grants.revoke("prometheus".to_owned()).await.unwrap(), made.token);
        assert!(changes.has_changed().unwrap());
        assert_eq!(grants.recognize(&shown), Recognized::Unknown);
        assert_eq!(grants.list(), Tokens::default());
    }

    #[tokio::test]
    async fn a_change_is_made_also_if_its_client_does_not_wait_for_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokens.json");
        let grants = with_file(&path);
        let made = grants.create(new("a", None)).await.unwrap();
        let mut changes = grants.changes();
        changes.mark_unchanged();
        {
            // It is polled once, and dropped while the file is written.
            let revoking = std::pin::pin!(grants.revoke("a".to_owned()));
            let mut context = Context::from_waker(Waker::noop());
            assert!(revoking.poll(&mut context).is_pending());
        }
        let other = grants.create(new("b", None)).await.unwrap();
        while grants.list().tokens != [other.token.clone()] {
            changes.changed().await.unwrap();
        }
        assert_eq!(grants.recognize(&Shown::token(&made.secret)), Recognized::Unknown);
        assert_eq!(with_file(&path).list(), grants.list());
    }

    #[tokio::test]
    async fn a_token_whose_file_is_lost_counts_no_more_when_it_is_revoked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokens.json");
        let grants = with_file(&path);
        let made = grants.create(new("a", None)).await.unwrap();
        let mut changes = grants.changes();
        changes.mark_unchanged();
        fs::remove_file(&path).unwrap();
        let refusal = grants.revoke("a".to_owned()).await.unwrap_err();
        assert_eq!(refusal.kind, NotDoneKind::Unknown);
        assert_eq!(grants.recognize(&Shown::token(&made.secret)), Recognized::Unknown);
        assert!(changes.has_changed().unwrap());
    }

    #[tokio::test]
    async fn what_is_revoked_while_the_file_is_read_again_stays_revoked() {
        let home = tempfile::tempdir().unwrap();
        let grants = with_file(&home.path().join("tokens.json"));
        let made = grants.create(new("a", None)).await.unwrap();
        let read = grants.read(vec!["bob admin".parse().unwrap()]).unwrap();
        grants.revoke("a".to_owned()).await.unwrap();
        grants.take(read);
        assert_eq!(grants.recognize(&Shown::token(&made.secret)), Recognized::Unknown);
        let read = grants.read(Vec::new()).unwrap();
        grants.take(read);
        assert_eq!(grants.list(), Tokens::default());
    }

    #[tokio::test]
    async fn what_stands_in_the_file_is_kept_and_a_broken_one_is_not_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokens.json");
        let grants = with_file(&path);
        let by_hand = with_file(&path).create(new("by-hand", None)).await.unwrap();
        grants.create(new("own", None)).await.unwrap();
        assert_eq!(grants.list().tokens.len(), 2);
        let shown = Shown::token(&by_hand.secret);
        assert!(matches!(grants.recognize(&shown), Recognized::Token(..)));

        fs::write(&path, "{").unwrap();
        let refusal = grants.create(new("third", None)).await.unwrap_err();
        assert!(
            refusal.reason.to_string().ends_with("; mend it first"),
            "{refusal:?}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
        // What was in use stays; after a start nothing is.
        assert!(matches!(grants.recognize(&shown), Recognized::Token(..)));
        assert!(grants.read(Vec::new()).is_err());
        assert_eq!(with_file(&path).list(), Tokens::default());
    }

    #[test]
    fn where_no_roles_are_set_nothing_is_asked_but_over_http() {
        let home = tempfile::tempdir().unwrap();
        let tokens = home.path().join("none");
        let certificate = PeerCertificate {
            subject: "CN=alice".into(),
            fingerprint: Fingerprint([0; 32]),
            names: vec!["alice".into()],
        };
        let none = Grants::with(&tokens, Vec::new());
        assert_eq!(none.of(None), None);
        assert_eq!(none.of(Some(&certificate)), None);
        let shown = Shown::Certificate(certificate.clone());
        assert_eq!(none.recognize(&shown), Recognized::Certificate(Grant::default()));
        let some = Grants::with(&tokens, vec!["alice read".parse().unwrap()]);
        assert_eq!(some.of(None), Some(Grant::default()));
        let read = Grant::of(Role::Read, None);
        assert_eq!(some.of(Some(&certificate)), Some(read.clone()));
        assert_eq!(some.recognize(&shown), Recognized::Certificate(read));
    }
}
