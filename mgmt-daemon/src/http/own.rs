//! What every daemon answers by itself, without its core.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use mgmt_api::{
    Principal,
    access::Role,
    operator::{About, MadeToken, NewToken, NotDone, NotDoneKind, Program, Reloaded, Token, Tokens, Whoami},
};
use tokio::sync::oneshot;

use super::{
    answer::{Answer, Problem, read},
    document,
    door::Shared,
    note::Note,
    routes::{Describe, Routes},
};
use crate::{grants::Grants, reload::AskReload, routes};

type Asking = Extension<Principal>;

/// What these routes need of the daemon.
#[derive(Clone)]
pub(super) struct Own {
    about: About,
    grants: Grants,
    reload: AskReload,
    /// What its routes say of themselves.
    described: Arc<[Describe]>,
    /// The document that is made of that when it is first asked for.
    document: Arc<OnceLock<Bytes>>,
}

impl Own {
    pub(super) fn new(about: About, shared: &Shared, described: Vec<Describe>) -> Self {
        Self {
            about,
            grants: shared.grants.clone(),
            reload: shared.reload.clone(),
            described: described.into(),
            document: Arc::default(),
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

pub(super) fn routes() -> Routes<Own> {
    routes!(about, openapi, whoami, reload, tokens, create_token, revoke_token)
}

/// Which daemon this is
#[utoipa::path(get, path = "/v1", responses((status = 200, body = About, description = "Its program, name and release")))]
async fn about(State(own): State<Own>) -> Json<About> {
    Json(own.about)
}

/// This document
///
/// It tells nothing of what the daemon does, and is the same for all who ask.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, body = Object, description = "OpenAPI 3.1"), (status = 500)),
)]
async fn openapi(State(own): State<Own>) -> Result<Answer, Problem> {
    if let Some(document) = own.document.get() {
        return Ok(Answer(document.clone()));
    }
    let document =
        document::of(&own.about, &own.described).and_then(|document| serde_json::to_vec(&document));
    let document =
        document.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Answer(own.document.get_or_init(|| document.into()).clone()))
}

/// Who the daemon takes one for that asks
#[utoipa::path(get, path = "/v1/whoami", responses((status = 200, body = Whoami, description = "Who asks, and what that may")))]
async fn whoami(Extension(principal): Asking) -> Json<Whoami> {
    Json(Whoami {
        who: principal.to_string(),
        may: principal.grant(),
    })
}

/// Read certificates, keys, tokens, roles and log level again
///
/// On any error all that was in use stays (409).
#[utoipa::path(
    post,
    path = "/v1/reload",
    security(("bearer" = ["admin"])),
    responses((status = 200, body = Reloaded, description = "They are in use"), (status = 409)),
)]
async fn reload(State(own): State<Own>, Extension(principal): Asking) -> Result<Json<Reloaded>, Problem> {
    principal.check(Role::Admin, None)?;
    let (answer, answered) = oneshot::channel();
    own.reload.send(answer).await.map_err(|_| Problem::ending())?;
    let outcome = answered.await.map_err(|_| Problem::ending())?;
    outcome.map(Json).map_err(|reason| {
        let reason = format!("nothing was reloaded, what was in use stays: {reason}");
        Problem::new(StatusCode::CONFLICT, reason)
    })
}

/// The tokens that there are
#[utoipa::path(
    get,
    path = "/v1/tokens",
    security(("bearer" = ["admin"])),
    responses((status = 200, body = Tokens, description = "Without what is secret")),
)]
async fn tokens(State(own): State<Own>, Extension(principal): Asking) -> Result<Json<Tokens>, Problem> {
    principal.check(Role::Admin, None)?;
    Ok(Json(own.grants.list()))
}

/// Make a token
#[utoipa::path(
    post,
    path = "/v1/tokens",
    security(("bearer" = ["admin"])),
    request_body = NewToken,
    responses(
        (status = 201, body = MadeToken, description = "It counts from now on; what is secret is told this once"),
        (status = 409),
        (status = 422),
    ),
)]
async fn create_token(
    State(own): State<Own>,
    Extension(principal): Asking,
    Extension(note): Extension<Note>,
    body: Bytes,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    principal.check(Role::Admin, None)?;
    let new: NewToken = read(&body)?;
    let clusters = new.clusters.iter().flatten().cloned();
    let about = [new.name.clone(), new.role.to_string()].into_iter();
    note.names("token_create", about.chain(clusters).collect());
    if own.about.program == Program::Agent && new.clusters.is_some() {
        let reason = "an agent has no clusters: make the token without, or at the controller";
        return Err(NotDone::new(NotDoneKind::Invalid, reason).into());
    }
    let made = own.grants.create(new).await?;
    let Token { name, role, .. } = &made.token;
    tracing::info!(name, %role, "a token is made, as {principal} wants");
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revoke a token
#[utoipa::path(
    delete,
    path = "/v1/tokens/{token}",
    security(("bearer" = ["admin"])),
    responses((status = 200, body = Token, description = "It counts no more"), (status = 409)),
)]
async fn revoke_token(
    State(own): State<Own>,
    Extension(principal): Asking,
    Extension(note): Extension<Note>,
    Path(name): Path<String>,
) -> Result<Json<Token>, Problem> {
    note.names("token_revoke", vec![name.clone()]);
    principal.check(Role::Admin, None)?;
    let token = own.grants.revoke(name).await?;
    tracing::info!(name = token.name, "a token is revoked, as {principal} wants");
    Ok(Json(token))
}
