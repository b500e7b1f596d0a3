//! Revisions, as HTTP.

use mgmt_api::operator::{ClusterRequest, Revision, Revisions};
use mgmt_daemon::http::{Door, Routes, axum::extract::Path, utoipa};

use super::{Answered, Operator};
use crate::request::Request;

pub(super) fn routes() -> Routes<Door<Request>> {
    mgmt_daemon::routes!(revisions, revision)
}

/// What has been deployed
///
/// The configurations that are kept, in short.
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/revisions",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Revisions, description = "The last one first")),
)]
async fn revisions(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Revisions))
        .await
}

/// A configuration that has been deployed
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/revisions/{revision}",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Revision, description = "With what it says")),
)]
async fn revision(operator: Operator, Path((cluster, number)): Path<(String, String)>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Revision(number)))
        .await
}
