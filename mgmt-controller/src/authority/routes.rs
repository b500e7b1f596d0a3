//! What is asked of the CA, as HTTP.
//!
//! | request | answer | takes |
//! |---|---|---|
//! | `GET /v1/enrolments` | [`Enrolments`] that are pending | admin in all clusters |
//! | `POST /v1/enrolments`, with a [`NewEnrolment`] | [`MadeEnrolment`] | admin in all clusters |
//! | `DELETE /v1/enrolments/{instance}` | [`Enrolment`] | admin in all clusters |
//! | `POST /v1/certificates`, with a [`CertificateRequest`] | [`IssuedCertificate`] | a token's secret, or a certificate of this CA |

use broker_endpoint::tls::PublicKey;
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
use mgmt_daemon::http::{
    Door, Problem, Stranger,
    axum::{
        Extension, Json, Router,
        body::Bytes,
        extract::Path,
        http::StatusCode,
        routing::{delete, get, post},
    },
    read,
};

use super::{Authority, NotIssued, enrolments, now, unavailable};
use crate::{Counted, http::Request};

type Asking = Extension<Principal>;

/// What the routes need.
#[derive(Clone, Debug)]
struct Issuing {
    authority: Option<Authority>,
    counters: Counters<Counted>,
}

/// The routes; of a controller without a CA of its own they say so.
pub(crate) fn routes(authority: Option<&Authority>, counters: &Counters<Counted>) -> Router<Door<Request>> {
    let [listing, making, revoking, issuing] = [(); 4].map(|()| Issuing {
        authority: authority.cloned(),
        counters: counters.clone(),
    });
    Router::new()
        .route(
            "/v1/enrolments",
            get(async move |asking: Asking| listing.list(&asking).await)
                .post(async move |asking: Asking, body: Bytes| making.enrol(&asking, &body).await),
        )
        .route(
            "/v1/enrolments/{instance}",
            delete(async move |asking: Asking, Path(instance): Path<String>| {
                revoking.revoke(&asking, instance).await
            }),
        )
        .route(
            "/v1/certificates",
            post(async move |stranger: Option<Extension<Stranger>>, body: Bytes| {
                issuing
                    .issue(stranger.map(|Extension(stranger)| stranger), &body)
                    .await
            }),
        )
}

impl Issuing {
    fn authority(&self) -> Result<&Authority, Problem> {
        self.authority.as_ref().ok_or_else(|| {
            let reason = "this controller has no CA of its own: it takes the setting own_ca = \"T\"";
            NotDone::new(NotDoneKind::Conflict, reason).into()
        })
    }

    async fn list(&self, principal: &Principal) -> Result<Json<Enrolments>, Problem> {
        principal.check(Role::Admin, None)?;
        Ok(Json(self.authority()?.pending().await?))
    }

    async fn enrol(
        &self,
        principal: &Principal,
        body: &[u8],
    ) -> Result<(StatusCode, Json<MadeEnrolment>), Problem> {
        principal.check(Role::Admin, None)?;
        let new: NewEnrolment = read(body)?;
        let made = self.authority()?.enrol(new).await?;
        let instance = &made.enrolment.instance;
        tracing::info!(instance, "an enrolment token is made, as {principal} wants");
        Ok((StatusCode::CREATED, Json(made)))
    }

    async fn revoke(&self, principal: &Principal, instance: String) -> Result<Json<Enrolment>, Problem> {
        principal.check(Role::Admin, None)?;
        let change = move |entries: &mut Vec<_>| enrolments::revoke(entries, &instance, now());
        let enrolment = self.authority()?.change(change).await??;
        let instance = &enrolment.instance;
        tracing::info!(instance, "an enrolment token is revoked, as {principal} wants");
        Ok(Json(enrolment))
    }

    /// Issues a certificate to an agent.
    async fn issue(
        &self,
        stranger: Option<Stranger>,
        body: &[u8],
    ) -> Result<Json<IssuedCertificate>, Problem> {
        let Some(stranger) = stranger else {
            let detail = "certificates are issued on the HTTP port, to agents";
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        let authority = self.authority()?;
        let refused = |refusal: NotIssued| {
            self.counters.increment(Counted::CertificatesRefused);
            match refusal {
                NotIssued::Wrong(reason) => stranger.was_wrong(reason),
                NotIssued::Refused(reason) => Problem::new(StatusCode::FORBIDDEN, reason),
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
        stranger.is_about(&instance);
        let issued = authority
            .issue(&instance, &key)
            .map_err(|error| unavailable(&error))?;
        self.counters.increment(Counted::CertificatesIssued);
        let address = stranger.address();
        tracing::info!(instance, %address, "an agent {how}");
        Ok(Json(issued))
    }
}
