//! What is asked of the CA, as HTTP.

use std::{sync::Arc, time::Duration};

use broker_endpoint::tls::{Certificate, PublicKey};
use counters::Counters;
use mgmt_api::{
    Principal,
    access::Role,
    operator::{
        NotDone, NotDoneKind,
        enrolment::{
            CertificateRequest, Enrolment, Enrolments, IssuedCertificate, MadeEnrolment, NewEnrolment,
        },
    },
};
use mgmt_daemon::{
    http::{
        Door, Note, Problem, Routes, Stranger,
        axum::{
            Extension, Json,
            body::Bytes,
            extract::{Path, State},
            http::StatusCode,
        },
        read, utoipa,
    },
    pace::Pace,
};

use super::{Authority, NotIssued, now, unavailable};
use crate::{Counted, request::Request};

type Asking = Extension<Principal>;

/// How many certificates an instance gets in a row. Otherwise one agent could push out of the audit log what others have done.
const ISSUED_MAX: u32 = 20;

/// How long it takes until it gets one more.
const ISSUED_RECOVERY: Duration = Duration::from_secs(3);

/// What the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Issuing {
    authority: Option<Authority>,
    counters: Counters<Counted>,
    /// How many certificates each instance gets.
    pace: Arc<Pace>,
}

impl Issuing {
    pub(crate) fn new(authority: Option<Authority>, counters: Counters<Counted>) -> Self {
        let pace = Arc::new(Pace::new(ISSUED_MAX, ISSUED_RECOVERY));
        Self {
            authority,
            counters,
            pace,
        }
    }
}

/// The routes; of a controller without a CA of its own they say so.
pub(crate) fn routes(issuing: Issuing) -> Routes<Door<Request>> {
    let routes = mgmt_daemon::routes!(enrolments, enrol, revoke_enrolment, issue_certificate);
    routes.map(|router| router.with_state(issuing))
}

/// The enrolments that wait for their agents
#[utoipa::path(
    get,
    path = "/v1/enrolments",
    security(("bearer" = ["admin"])),
    responses((status = 200, body = Enrolments, description = "Without what is secret"), (status = 409)),
)]
async fn enrolments(
    State(issuing): State<Issuing>,
    Extension(principal): Asking,
) -> Result<Json<Enrolments>, Problem> {
    principal.check(Role::Admin, None)?;
    Ok(Json(issuing.authority()?.pending().await?))
}

/// Make an enrolment token for an agent
#[utoipa::path(
    post,
    path = "/v1/enrolments",
    security(("bearer" = ["admin"])),
    request_body = NewEnrolment,
    responses(
        (status = 201, body = MadeEnrolment, description = "Its token counts from now on, and is told this once"),
        (status = 409),
        (status = 422),
    ),
)]
async fn enrol(
    State(issuing): State<Issuing>,
    Extension(principal): Asking,
    Extension(note): Extension<Note>,
    body: Bytes,
) -> Result<(StatusCode, Json<MadeEnrolment>), Problem> {
    principal.check(Role::Admin, None)?;
    let new: NewEnrolment = read(&body)?;
    note.names("enrolment_create", vec![new.instance.clone()]);
    let made = issuing.authority()?.enrol(new).await?;
    let instance = &made.enrolment.instance;
    tracing::info!(instance, "an enrolment token is made, as {principal} wants");
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revoke an enrolment token that is not used yet
#[utoipa::path(
    delete,
    path = "/v1/enrolments/{instance}",
    security(("bearer" = ["admin"])),
    responses((status = 200, body = Enrolment, description = "It counts no more"), (status = 409)),
)]
async fn revoke_enrolment(
    State(issuing): State<Issuing>,
    Extension(principal): Asking,
    Extension(note): Extension<Note>,
    Path(instance): Path<String>,
) -> Result<Json<Enrolment>, Problem> {
    note.names("enrolment_revoke", vec![instance.clone()]);
    principal.check(Role::Admin, None)?;
    let change = move |entries: &mut Vec<_>| super::enrolments::revoke(entries, &instance, now());
    let enrolment = issuing.authority()?.change(change).await?;
    let instance = &enrolment.instance;
    tracing::info!(instance, "an enrolment token is revoked, as {principal} wants");
    Ok(Json(enrolment))
}

/// Issue a certificate to an agent
///
/// For an enrolment token, whose secret is the bearer's; or in place of a certificate of the controller's own CA, which has ended 30 days ago at the most.
#[utoipa::path(
    post,
    path = "/v1/certificates",
    request_body = CertificateRequest,
    responses(
        (status = 200, body = IssuedCertificate, description = "With the CA's"),
        (status = 404),
        (status = 409),
        (status = 429),
    ),
)]
async fn issue_certificate(
    State(issuing): State<Issuing>,
    stranger: Option<Extension<Stranger>>,
    body: Bytes,
) -> Result<Json<IssuedCertificate>, Problem> {
    let Some(Extension(stranger)) = stranger else {
        let detail = "certificates are issued on the HTTP port, to agents";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    issuing.issue(&stranger, &body).await
}

impl Issuing {
    fn authority(&self) -> Result<&Authority, Problem> {
        self.authority.as_ref().ok_or_else(|| {
            let reason = "this controller has no CA of its own: it takes the setting own_ca = true";
            NotDone::new(NotDoneKind::Conflict, reason).into()
        })
    }

    /// Issues a certificate to an agent.
    async fn issue(&self, stranger: &Stranger, body: &[u8]) -> Result<Json<IssuedCertificate>, Problem> {
        let authority = self.authority()?;
        let refused = |refusal: NotIssued| {
            self.counters.increment(Counted::CertificatesRefused);
            match refusal {
                NotIssued::Wrong(reason) => stranger.was_wrong(reason),
                NotIssued::Refused(reason) => Problem::new(StatusCode::FORBIDDEN, reason),
                NotIssued::TooMany(instance) => {
                    let reason = format!(
                        "{instance} has got {ISSUED_MAX} certificates in a short time, and gets one more each {} s: try again later",
                        ISSUED_RECOVERY.as_secs()
                    );
                    stranger.asks_too_often(reason, "3")
                }
                NotIssued::Failed(not_done) => not_done.into(),
            }
        };
        let asked: CertificateRequest = serde_json::from_slice(body).map_err(|error| {
            refused(NotIssued::Wrong(format!(
                "the body is no request for a certificate: {error}"
            )))
        })?;
        let key = PublicKey::of_request(asked.request.as_bytes())
            .map_err(|error| refused(NotIssued::Wrong(format!("the request: {error}"))))?;
        let (instance, how) = match (&asked.renews, stranger.secret()) {
            (Some(renews), _) => (
                authority.renewed(renews, &asked.request),
                "renews its certificate",
            ),
            (None, Some(secret)) => (authority.claimed(secret, &key).await, "is enrolled"),
            (None, None) => {
                let reason = "it takes an enrolment token, or a certificate to be renewed";
                (Err(NotIssued::Wrong(reason.to_owned())), "")
            }
        };
        let instance = instance.map_err(refused)?;
        stranger.is_about(vec![instance.clone()]);
        if !self.pace.allows(instance.clone()) {
            return Err(refused(NotIssued::TooMany(instance)));
        }
        let issued = authority
            .issue(&instance, &key)
            .map_err(|error| unavailable(&error))?;
        self.counters.increment(Counted::CertificatesIssued);
        let (address, fingerprint) = (stranger.address(), fingerprint(&issued));
        tracing::info!(instance, %address, fingerprint, "an agent {how}");
        stranger.is_about(vec![instance, fingerprint]);
        Ok(Json(issued))
    }
}

/// By what an operator can deny what was issued.
fn fingerprint(issued: &IssuedCertificate) -> String {
    let certificate = Certificate::from_pem(issued.certificate.as_bytes());
    let fingerprint = certificate.and_then(|certificate| certificate.fingerprint());
    fingerprint.map_or_else(|error| error.to_string(), |fingerprint| fingerprint.to_string())
}
