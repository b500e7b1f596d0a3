//! When the certificates end that the daemon uses.

use std::time::Duration;

use broker_endpoint::tls::{Expiry, TlsConfig};
use mgmt_api::WallClock;

use crate::{process::unix_time, renewing::Renewing};

/// How long before the end of a certificate there is a warning.
const WARNING_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const RENEW: &str = "renew it, and have this daemon reload (SIGHUP, or mgmtctl reload)";

/// What was read when the files were last loaded, at the start or by a reload. Files that have changed since are not in use.
#[derive(Clone, Debug, Default)]
pub struct Certificates(Vec<Expiry>);

impl Certificates {
    /// Those that these settings name, each file once. Of a file that cannot be read nothing is known: where it is needed, the daemon has not
    /// started.
    pub fn read<'a>(tls: impl IntoIterator<Item = &'a TlsConfig>) -> Self {
        let mut all: Vec<Expiry> = Vec::new();
        for expiry in tls.into_iter().flat_map(|tls| tls.expiries().unwrap_or_default()) {
            if !all.contains(&expiry) {
                all.push(expiry);
            }
        }
        Self(all)
    }

    /// The daemon has renewed one itself.
    pub fn renewed(&mut self, renewing: Option<&Renewing>) {
        let Some((path, end)) = renewing.and_then(|own| Some((own.certificate(), own.end()?))) else {
            return;
        };
        for expiry in self.0.iter_mut().filter(|expiry| expiry.path == path) {
            expiry.at = i64::try_from(end.as_secs()).unwrap_or(i64::MAX);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Expiry> {
        self.0.iter()
    }

    /// What is wrong with those that have ended.
    pub fn failing(&self, renewing: Option<&Renewing>) -> impl Iterator<Item = String> {
        let now = unix_time();
        let own = renewing.map(Renewing::certificate);
        let ended = self.0.iter().filter(move |expiry| end(expiry) <= now);
        ended.map(move |expiry| {
            let remedy = if Some(&*expiry.path) == own {
                "the daemon tries to renew it, and its log says why it cannot"
            } else {
                RENEW
            };
            let at = WallClock::from_unix(end(expiry));
            format!(
                "the {} in {} has expired, at {at}: connections are refused; {remedy}",
                expiry.what,
                expiry.path.display()
            )
        })
    }

    /// What is to be done about those that end soon. Of the one that the daemon renews itself that is nothing, as long as it can.
    pub fn ending(&self, renewing: Option<&Renewing>) -> impl Iterator<Item = String> {
        let now = unix_time();
        let is_near = move |expiry: &&Expiry| (now..now + WARNING_BEFORE).contains(&end(expiry));
        let own = renewing.map(Renewing::certificate);
        let others = self.0.iter().filter(move |expiry| Some(&*expiry.path) != own);
        let ending = others.filter(is_near).map(|expiry| {
            let at = WallClock::from_unix(end(expiry));
            format!(
                "the {} in {} expires at {at}: {RENEW}",
                expiry.what,
                expiry.path.display()
            )
        });
        ending.chain(renewing.and_then(Renewing::trouble))
    }
}

/// When a certificate ends, since 1970.
fn end(expiry: &Expiry) -> Duration {
    Duration::from_secs(u64::try_from(expiry.at).unwrap_or_default())
}
