//! What operators can ask, as HTTP, besides what [every daemon](mgmt_daemon::http) answers. [`mgmt_api::operator`] has what they hear, and `core/access.rs` which role a
//! request takes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`AgentStatus`](mgmt_api::operator::AgentStatus) |
//! | `GET /v1/nodes/{node}/outputs` | [`Outputs`](mgmt_api::operator::Outputs) |
//! | `GET /v1/nodes/{node}/history` | [`NodeHistory`](mgmt_api::operator::NodeHistory) |
//! | `GET /v1/nodes/{node}/metrics` | what the node tells Prometheus |
//! | `POST /v1/adopt` | [`Adopted`](mgmt_api::operator::Adopted) |
//! | `POST /v1/nodes/stop`, `POST /v1/nodes/start`, with a [`Selection`](mgmt_api::operator::Selection) | [`Changed`](mgmt_api::operator::Changed) |

use mgmt_api::{
    OperatorRequest,
    operator::{AgentStatus, NodeName},
};
use mgmt_daemon::http::{
    Answer, Door, Problem,
    axum::{
        Router,
        body::Bytes,
        extract::Path,
        http::StatusCode,
        response::Response,
        routing::{get, post},
    },
    metrics_at, read,
};

type Operator = mgmt_daemon::http::Operator<OperatorRequest>;
type Answered = Result<Answer, Problem>;

/// The agent's routes.
pub(crate) fn routes() -> Router<Door<OperatorRequest>> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/adopt", post(adopt))
        .route("/v1/nodes/{node}/outputs", get(outputs))
        .route("/v1/nodes/{node}/history", get(history))
        .route("/v1/nodes/{node}/metrics", get(metrics))
        .route("/v1/nodes/stop", post(stop))
        .route("/v1/nodes/start", post(start))
}

async fn status(operator: Operator) -> Answered {
    operator.asks(OperatorRequest::Status).await
}

async fn adopt(operator: Operator) -> Answered {
    operator.asks(OperatorRequest::Adopt).await
}

async fn outputs(operator: Operator, Path(node): Path<String>) -> Answered {
    operator.asks(OperatorRequest::Outputs(NodeName { node })).await
}

async fn history(operator: Operator, Path(node): Path<String>) -> Answered {
    operator.asks(OperatorRequest::History(NodeName { node })).await
}

/// So that one port of the host is enough, and Zeek's need not be reached from elsewhere.
async fn metrics(operator: Operator, Path(node): Path<String>) -> Result<Response, Problem> {
    let status: AgentStatus = read(&operator.asks(OperatorRequest::Status).await?.0)?;
    let mut nodes = status.nodes.into_iter();
    let Some(report) = nodes.find(|report| report.node == node) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "this agent has no such node"));
    };
    match report.metrics {
        Some(address) => metrics_at(address).await,
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "the node has no port for metrics: Zeek has one from 7.0 on, and the configuration says which",
        )),
    }
}

async fn stop(operator: Operator, body: Bytes) -> Answered {
    operator.asks(OperatorRequest::Stop(read(&body)?)).await
}

async fn start(operator: Operator, body: Bytes) -> Answered {
    operator.asks(OperatorRequest::Start(read(&body)?)).await
}
