//! What every daemon answers by itself, without its core.
//!
//! | request | answer | takes |
//! |---|---|---|
//! | `GET /v1` | [`About`] | nothing |
//! | `GET /v1/whoami` | [`Whoami`] | nothing |
//! | `POST /v1/reload` | [`Reloaded`] | admin in all clusters |
//! | `GET /v1/tokens` | [`Tokens`] | admin in all clusters |
//! | `POST /v1/tokens`, with a [`NewToken`] | [`MadeToken`] | admin in all clusters |
//! | `DELETE /v1/tokens/{token}` | [`Token`] | admin in all clusters |

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::Path,
    http::StatusCode,
    routing::{delete, get, post},
};
use mgmt_api::{
    Principal,
    access::Role,
    operator::{About, MadeToken, NewToken, NotDone, NotDoneKind, Program, Reloaded, Token, Tokens, Whoami},
};
use tokio::sync::oneshot;

use super::{
    answer::{Problem, read},
    door::{Door, Shared},
};
use crate::{grants::Grants, reload::AskReload};

type Asking = Extension<Principal>;

pub(super) fn routes<Q: Send + 'static>(about: About, shared: &Shared) -> Router<Door<Q>> {
    let program = about.program;
    let (listing, making, revoking) = (
        shared.grants.clone(),
        shared.grants.clone(),
        shared.grants.clone(),
    );
    let reload = shared.reload.clone();
    Router::new()
        .route("/v1", get(async || Json(about)))
        .route("/v1/whoami", get(whoami))
        .route(
            "/v1/reload",
            post(async move |asking: Asking| reloaded(&asking, &reload).await),
        )
        .route(
            "/v1/tokens",
            get(async move |asking: Asking| list(&asking, &listing)).post(
                async move |asking: Asking, body: Bytes| create(&asking, &making, program, &body).await,
            ),
        )
        .route(
            "/v1/tokens/{token}",
            delete(async move |asking: Asking, Path(name): Path<String>| {
                revoke(&asking, &revoking, name).await
            }),
        )
}

async fn whoami(Extension(principal): Asking) -> Json<Whoami> {
    Json(Whoami {
        who: principal.to_string(),
        may: principal.grant(),
    })
}

/// Has the daemon reload.
async fn reloaded(principal: &Principal, reload: &AskReload) -> Result<Json<Reloaded>, Problem> {
    principal.check(Role::Admin, None)?;
    let (answer, answered) = oneshot::channel();
    reload.send(answer).await.map_err(|_| Problem::ending())?;
    let outcome = answered.await.map_err(|_| Problem::ending())?;
    outcome.map(Json).map_err(|reason| {
        let reason = format!("nothing was reloaded, what was in use stays: {reason}");
        Problem::new(StatusCode::CONFLICT, reason)
    })
}

fn list(principal: &Principal, grants: &Grants) -> Result<Json<Tokens>, Problem> {
    principal.check(Role::Admin, None)?;
    Ok(Json(grants.list()))
}

async fn create(
    principal: &Principal,
    grants: &Grants,
    program: Program,
    body: &[u8],
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    principal.check(Role::Admin, None)?;
    let new: NewToken = read(body)?;
    if program == Program::Agent && new.clusters.is_some() {
        let reason = "an agent has no clusters: make the token without, or at the controller";
        return Err(NotDone::new(NotDoneKind::Invalid, reason).into());
    }
    let made = grants.create(new).await?;
    let Token { name, role, .. } = &made.token;
    tracing::info!(name, %role, "a token is made, as {principal} wants");
    Ok((StatusCode::CREATED, Json(made)))
}

async fn revoke(principal: &Principal, grants: &Grants, name: String) -> Result<Json<Token>, Problem> {
    principal.check(Role::Admin, None)?;
    let token = grants.revoke(name).await?;
    tracing::info!(name = token.name, "a token is revoked, as {principal} wants");
    Ok(Json(token))
}
