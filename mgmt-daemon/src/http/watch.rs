//! What monitors a daemon, as HTTP: whether it lives, and whether it can do its work.
//!
//! All of it goes through the loop; if that does not answer within [`ANSWER_MAX`], the answer is 503.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use mgmt_api::{Principal, access::Role};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{answer::Problem, routes::Routes};
use crate::{
    metrics::{Format, Measured, Metrics},
    routes,
};

/// How long the loop may take. Prometheus waits 10 s by default, as long as it takes to see that a daemon hangs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Who waits to hear how the daemon is.
#[derive(Debug)]
pub enum Watch {
    /// Whether the loop answers.
    Live(oneshot::Sender<()>),
    /// What fails.
    Ready(oneshot::Sender<Vec<String>>),
    /// The metrics.
    Metrics(oneshot::Sender<Metrics>),
}

impl Watch {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Live(answer) => answer.is_closed(),
            Self::Ready(answer) => answer.is_closed(),
            Self::Metrics(answer) => answer.is_closed(),
        }
    }

    /// Answers, if the other end is still there, with what it wants to know.
    pub fn answer(self, failing: Vec<String>, metrics: impl FnOnce() -> Metrics) {
        match self {
            Self::Live(answer) => {
                let _ = answer.send(());
            }
            Self::Ready(answer) => {
                let _ = answer.send(failing);
            }
            Self::Metrics(answer) => {
                let mut metrics = metrics();
                metrics.value(Measured::Ready, f64::from(failing.is_empty()));
                let _ = answer.send(metrics);
            }
        }
    }
}

/// The way to the loop.
pub(super) type Watches = mpsc::Sender<Watch>;

pub(super) fn routes() -> Routes<Watches> {
    routes!(live, ready, metrics)
}

/// Whether the daemon's loop answers
#[utoipa::path(
    get,
    path = "/livez",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "It does."),
        (status = 503, description = "It does not."),
    ),
)]
async fn live(State(watches): State<Watches>) -> Result<&'static str, Problem> {
    ask(&watches, Watch::Live).await?;
    Ok("ok\n")
}

/// Whether the daemon can do its work
#[utoipa::path(
    get,
    path = "/readyz",
    security(("bearer" = ["read"])),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "It can."),
        (status = 503, description = "It cannot: `errors` has each thing that fails."),
    ),
)]
async fn ready(
    State(watches): State<Watches>,
    Extension(principal): Extension<Principal>,
) -> Result<&'static str, Problem> {
    principal.check(Role::Read, None)?;
    let failing = ask(&watches, Watch::Ready).await?;
    if failing.is_empty() {
        return Ok("ok\n");
    }
    Err(Problem::listing("not ready", &failing))
}

/// The daemon's metrics
///
/// For readers that ask for it by `Accept`, as `OpenMetrics`.
#[utoipa::path(
    get,
    path = "/metrics",
    security(("bearer" = ["read"])),
    responses(
        (status = 200, description = "The metrics", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
    ),
)]
async fn metrics(
    State(watches): State<Watches>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    principal.check(Role::Read, None)?;
    let metrics = ask(&watches, Watch::Metrics).await?;
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    Ok((
        [(header::CONTENT_TYPE, format.content_type())],
        metrics.write(format),
    ))
}

/// Has the loop answer.
async fn ask<T>(watches: &Watches, watch: impl FnOnce(oneshot::Sender<T>) -> Watch) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        watches.send(watch(answer)).await.ok()?;
        answered.await.ok()
    };
    match timeout(ANSWER_MAX, asked).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Problem::ending()),
        Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the daemon has not answered for {} s: it hangs, or its host has too much to do; if this lasts, restart it",
                ANSWER_MAX.as_secs()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use broker_endpoint::tls::TlsConfig;
    use counters::Counters;
    use mgmt_api::operator::{About, Program};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
        select,
    };

    use super::{super::door::Asked, *};
    use crate::{
        audit::Audit,
        config::{HttpConfig, SocketConfig},
        grants::Grants,
        http::{Operators, Shared},
        metrics::Durations,
    };
    use axum::Router;
    use utoipa::openapi::OpenApi;

    /// What is answered to this request, by a daemon whose loop does this or hangs.
    async fn answered(path: &str, failing: Option<&[&str]>) -> String {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("s");
        let about = About {
            program: Program::Agent,
            name: "a".into(),
            version: "0".into(),
        };
        let http = HttpConfig {
            listen: None,
            tls: TlsConfig::Off,
            hosts: Vec::new(),
            tokens: home.path().join("tokens"),
        };
        let shared = Shared {
            reload: mpsc::channel(1).0,
            grants: Grants::with(&http.tokens, Vec::new()),
            durations: Durations::default(),
            counters: Counters::default(),
            audit: Audit::default(),
        };
        let operators = Operators::<()>::serve(
            &SocketConfig::at(&socket),
            &http,
            about,
            shared,
            Routes::new(Router::new(), OpenApi::default),
            |()| "none",
        )
        .await;
        let mut operators = operators.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let asked = async {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let serves = async {
            let Some(failing) = failing else {
                return std::future::pending().await;
            };
            loop {
                if let Asked::Vitals { id } = operators.next().await
                    && let Some(watch) = operators.watch(id)
                {
                    let failing = failing.iter().map(|&text| text.into()).collect();
                    watch.answer(failing, || Metrics::new("test"));
                }
            }
        };
        select! {
            answer = asked => answer,
            () = serves => unreachable!("it goes on"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_lives_if_its_loop_answers_and_is_ready_if_nothing_fails() {
        for path in ["/livez", "/readyz"] {
            let answer = answered(path, Some(&[])).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        }
        let failing: &[&str] = &["node a is CRASHED", "no \"b\""];
        assert!(answered("/livez", Some(failing)).await.contains("200 OK"));
        let answer = answered("/readyz", Some(failing)).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let body = r#"{"title":"Service Unavailable","status":503,"detail":"not ready: node a is CRASHED; no \"b\"","errors":["node a is CRASHED","no \"b\""]}"#;
        assert!(answer.ends_with(body), "{answer}");
        let answer = answered("/metrics", Some(failing)).await;
        assert!(answer.ends_with("\ntest_ready 0.0\n"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_waited_for_a_short_time() {
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = answered(path, None).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("the daemon has not answered for 5 s"), "{answer}");
        }
    }
}
