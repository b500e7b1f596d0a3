//! What operators can ask, as HTTP, besides what [every daemon](mgmt_daemon::http) answers. [`mgmt_api::operator`] has what they hear, and `core/access.rs` which role a
//! request takes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`AgentStatus`](mgmt_api::operator::AgentStatus) |
//! | `GET /v1/nodes/{node}/outputs` | [`Outputs`](mgmt_api::operator::Outputs) |
//! | `GET /v1/nodes/{node}/history` | [`NodeHistory`](mgmt_api::operator::NodeHistory) |
//! | `POST /v1/nodes/stop`, `POST /v1/nodes/start`, with a [`Selection`](mgmt_api::operator::Selection) | [`Changed`](mgmt_api::operator::Changed) |

use mgmt_api::{OperatorRequest, operator::NodeName};
use mgmt_daemon::http::{
    Answer, Door, Problem,
    axum::{
        Router,
        body::Bytes,
        extract::Path,
        routing::{get, post},
    },
    read,
};

type Operator = mgmt_daemon::http::Operator<OperatorRequest>;
type Answered = Result<Answer, Problem>;

/// The agent's routes.
pub(crate) fn routes() -> Router<Door<OperatorRequest>> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/nodes/{node}/outputs", get(outputs))
        .route("/v1/nodes/{node}/history", get(history))
        .route("/v1/nodes/stop", post(stop))
        .route("/v1/nodes/start", post(start))
}

async fn status(operator: Operator) -> Answered {
    operator.asks(OperatorRequest::Status).await
}

async fn outputs(operator: Operator, Path(node): Path<String>) -> Answered {
    operator.asks(OperatorRequest::Outputs(NodeName { node })).await
}

async fn history(operator: Operator, Path(node): Path<String>) -> Answered {
    operator.asks(OperatorRequest::History(NodeName { node })).await
}

async fn stop(operator: Operator, body: Bytes) -> Answered {
    operator.asks(OperatorRequest::Stop(read(&body)?)).await
}

async fn start(operator: Operator, body: Bytes) -> Answered {
    operator.asks(OperatorRequest::Start(read(&body)?)).await
}
