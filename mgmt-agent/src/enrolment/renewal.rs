//! The agent renews its certificate, by the one that it has: also one that has ended.

use std::io;

use broker_endpoint::{
    read_file,
    tls::{AuthorityError, PrivateKey, RenewTls},
    with_causes,
};
use counters::Counters;
use mgmt_api::operator::enrolment::{CertificateRequest, Enrolled, Renews};
use mgmt_daemon::{Counted, lock::Lock, renewing::Renewing};
use tokio::task::spawn_blocking;

use super::{Place, ask};
use crate::config::Config;

/// Everything that a renewal is asked for with.
struct Prepared {
    /// Until what was asked for is in place.
    lock: Lock,
    enrolled: Enrolled,
    key: PrivateKey,
    asked: CertificateRequest,
}

/// Completes a renewal in whose midst an earlier agent has ended.
pub(crate) fn complete(config: &Config) {
    let place = Place::below(&config.daemon.state_dir);
    if !place.is_unsettled() {
        return;
    }
    let settled = place.lock().map_err(|error| with_causes(&error));
    if let Err(error) = settled.and_then(|_lock| place.settle().map_err(|error| error.to_string())) {
        tracing::warn!("the next certificate of this agent cannot be put in place: {error}");
    }
}

/// Has the certificate of an agent that is enrolled renewed from now on, if it uses that.
pub(crate) fn start(config: &Config, tls: Vec<RenewTls>, counters: Counters<Counted>) -> Option<Renewing> {
    let place = Place::below(&config.daemon.state_dir);
    let own = config.daemon.broker_tls.identity()?;
    (own.certificate == place.certificate()).then(|| {
        Renewing::start(place.certificate(), tls, counters, move || {
            let place = place.clone();
            async move { renew(place).await }
        })
    })
}

async fn renew(place: Place) -> Result<(), String> {
    let of = place.clone();
    let prepared = spawn_blocking(move || prepare(&of)).await;
    let Prepared {
        lock,
        enrolled,
        key,
        asked,
    } = prepared.map_err(|error| error.to_string())??;
    let issued = ask::certificate(&enrolled, &key, None, &asked).await;
    let issued = issued.map_err(|error| with_causes(&error))?;
    let installed = spawn_blocking(move || {
        let _lock = lock;
        place.install(&issued)
    })
    .await;
    let installed = installed.map_err(|error| error.to_string())?;
    installed.map_err(|error| format!("cannot write it: {error}"))
}

fn prepare(place: &Place) -> Result<Prepared, String> {
    let unreadable = |error: io::Error| format!("cannot read it or its key: {error}");
    let unusable = |error: AuthorityError| format!("it or its key cannot be used: {error}");
    let lock = place.lock().map_err(|error| with_causes(&error))?;
    let enrolled = place
        .read()?
        .ok_or("enrolment.json is not there any more: enrol again")?;
    let pem = read_file(&place.certificate()).map_err(unreadable)?;
    let old_key = PrivateKey::from_pem(&read_file(&place.key()).map_err(unreadable)?).map_err(unusable)?;
    let key = place
        .next_key()
        .map_err(|error| format!("cannot write the next key: {error}"))?;
    let request = key.request(&enrolled.name).map_err(unusable)?;
    let signature = old_key.sign(request.as_bytes()).map_err(unusable)?;
    let renews = Renews {
        certificate: String::from_utf8(pem).map_err(|error| error.to_string())?,
        signature: hex::encode(signature),
    };
    Ok(Prepared {
        lock,
        enrolled,
        key,
        asked: CertificateRequest {
            request,
            renews: Some(renews),
        },
    })
}
