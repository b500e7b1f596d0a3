//! A line of the audit log for each request over HTTP, also those that get no further than to be refused.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{admit::Caller, answer::Reason, note::Note};
use crate::audit::{Audit, Line, Outcome};

/// A request that is not answered yet. It has its line when this is dropped, also if that is because its client is gone: what it has asked for
/// goes on.
struct Open {
    audit: Audit,
    time: Timestamp,
    since: Instant,
    address: Option<SocketAddr>,
    is_of_monitor: bool,
    note: Note,
    outcome: Outcome,
}

impl Drop for Open {
    fn drop(&mut self) {
        let noted = std::mem::take(&mut *self.note.lock());
        let is_refused = matches!(self.outcome, Outcome::Refused(_));
        if noted.is_left_out || self.is_of_monitor && !is_refused {
            return;
        }
        self.audit.record(Line {
            time: self.time,
            who: noted.who,
            address: self.address,
            what: noted.what,
            outcome: self.outcome.clone(),
            took: self.since.elapsed(),
        });
    }
}

/// Has a request answered, and writes a line about it. What monitors the daemon has none as long as it may.
pub(super) async fn audit(State(audit): State<Audit>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let note = Note::default();
    note.complete(|what| {
        what.request = format!("{} {path}", request.method());
        what.is_read = request.method().is_safe();
    });
    if let Some(user) = request.extensions().get() {
        note.is_of(user);
    }
    let caller = request.extensions().get::<Arc<Caller>>();
    let mut open = Open {
        audit,
        time: Timestamp::now(),
        since: Instant::now(),
        address: caller.map(|caller| caller.address),
        is_of_monitor: is_of_monitor(path),
        note: note.clone(),
        outcome: Outcome::Unknown("the connection ended before the answer".to_owned()),
    };
    request.extensions_mut().insert(note);
    let response = next.run(request).await;
    open.outcome = outcome(response.status(), response.extensions().get::<Reason>());
    response
}

/// Whether monitors ask that, again and again.
fn is_of_monitor(path: &str) -> bool {
    let is_of_node = path.starts_with("/v1/nodes/") && path.ends_with("/metrics");
    is_of_node || ["/livez", "/readyz", "/metrics", "/sd"].contains(&path)
}

fn outcome(status: StatusCode, reason: Option<&Reason>) -> Outcome {
    let reason = || reason.map_or_else(|| status.to_string(), |Reason(reason)| reason.clone());
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::MISDIRECTED_REQUEST
        | StatusCode::TOO_MANY_REQUESTS => Outcome::Refused(reason()),
        status if status.is_client_error() || status.is_server_error() => Outcome::failed(reason()),
        _ => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future::pending};

    use axum::{Router, routing::post};
    use counters::Counters;
    use tokio::{io::AsyncWriteExt, net::UnixStream, sync::mpsc, task::spawn_blocking};

    use super::{
        super::{socket::ControlSocket, under_way::UnderWay},
        *,
    };
    use crate::{
        audit::tests::{appears, watch},
        config::SocketConfig,
    };

    #[tokio::test]
    async fn a_request_whose_client_does_not_wait_for_the_answer_has_its_line() {
        let home = tempfile::tempdir().unwrap();
        let (socket, log) = (home.path().join("s"), home.path().join("audit.log"));
        let audit = Audit::start(Some(&log), Counters::default()).unwrap();
        let (comes, mut came) = mpsc::channel(1);
        let hangs = move || async move {
            comes.send(()).await.unwrap();
            pending::<()>().await;
        };
        let routes = Router::new().route("/restart", post(hangs));
        let _open = ControlSocket::open(
            &SocketConfig::at(&socket),
            routes,
            UnderWay::default(),
            &audit,
            &Counters::default(),
        )
        .unwrap();
        let watch = watch(home.path());
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let request = b"POST /restart HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(request).await.unwrap();
        came.recv().await.unwrap();
        drop(stream);
        spawn_blocking(move || {
            appears(&watch);
            audit.finish();
        })
        .await
        .unwrap();
        let line = fs::read_to_string(&log).unwrap();
        let words = r#""request":"POST /restart","outcome":"unknown","reason":"the connection ended before the answer""#;
        assert!(line.contains(words), "{line}");
    }
}
