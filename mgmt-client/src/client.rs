//! Asks a daemon by HTTP.

use std::{error::Error, fmt::Write as _, io, path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    http::request::Builder,
};
use mgmt_api::operator::Expected;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{Exit, place::Place};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The longest cluster file that is read, in bytes: the longest body of a request that a daemon reads.
pub(crate) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long an answer is waited for: a controller waits for its agents for ten seconds, by default.
const PATIENCE: Duration = Duration::from_secs(30);

const WEBSOCKET: &str =
    "this is the WebSocket port of a controller, and not its HTTP port: name that of its setting http_listen";

/// A daemon, by where it is asked. Each request has a connection of its own: a daemon ends those that last.
#[derive(Clone)]
pub(crate) struct Client {
    place: Place,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "neither a controller nor an agent listens in /run/zeek-mgmt; name a control socket by --socket or MGMT_SOCKET: a daemon's is \
         control.sock in the directory that its log names when it is ready; or a server by --server"
    )]
    NoSocket,
    #[error("cannot connect to the control socket {path}: {source}{}", advice(.source))]
    Connect { path: PathBuf, source: io::Error },
    #[error("cannot ask {server}: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    #[error("the daemon has not answered within {} s: it may be stopped or hang", PATIENCE.as_secs())]
    Silent,
    #[error("{text}")]
    Refused { status: StatusCode, text: String },
    #[error("the daemon's answer cannot be read, it may be of another release: {0}")]
    Unreadable(serde_json::Error),
    #[error("{0}")]
    Usage(&'static str),
    #[error("{0}")]
    Options(String),
    #[error("{0}")]
    Tls(String),
    #[error(
        "{source}; the deployment goes on without mgmtctl as long as the controller runs: `mgmtctl deployments {id}` and `mgmtctl status` tell \
         what has come of it"
    )]
    Lost { id: String, source: Box<ClientError> },
    #[error("{0}")]
    Untold(String),
    #[error("{0}")]
    NoRevision(String),
    #[error("another configuration was staged meanwhile: look at it with `mgmtctl config diff`")]
    Changed,
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {} MiB", FILE_BYTES_MAX >> 20)]
    TooLong { path: PathBuf },
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    /// With path and line of each.
    #[error("{0}")]
    Problems(String),
}

impl ClientError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Options(_) => Exit::Usage,
            Self::Refused { .. }
            | Self::Changed
            | Self::NoRevision(_)
            | Self::Tls(_)
            | Self::Read { .. }
            | Self::TooLong { .. }
            | Self::File { .. }
            | Self::Problems(_) => Exit::Failed,
            Self::NoSocket
            | Self::Untold(_)
            | Self::Silent
            | Self::Lost { .. }
            | Self::Connect { .. }
            | Self::Unreachable { .. }
            | Self::Broken(_)
            | Self::Unreadable(_) => Exit::CannotTell,
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; the daemon's user and root may use it",
        io::ErrorKind::ConnectionRefused => "; its daemon does not run, or it is no socket",
        io::ErrorKind::NotFound => "; its daemon does not run, or has another one",
        _ => "",
    }
}

/// What is read of a problem (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    errors: Vec<String>,
}

impl Client {
    pub(crate) const fn new(place: Place) -> Self {
        Self { place }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Request::get(path), Bytes::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(Request::post(path), json(what)?).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Request::delete(path), Bytes::new()).await
    }

    /// What is there, or none if it is not.
    pub(crate) async fn get_if_there<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, ClientError> {
        match self.get(path).await {
            Err(ClientError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Puts something there, as far as the configuration is deployed that is taken to be.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        expected: &Expected,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(resting_on(Request::put(path), expected), json(what)?)
            .await
    }

    /// Has something begin there, likewise.
    pub(crate) async fn begin<T: DeserializeOwned>(
        &self,
        path: &str,
        expected: &Expected,
        what: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(resting_on(Request::post(path), expected), json(what)?)
            .await
    }

    async fn ask<T: DeserializeOwned>(&self, request: Builder, body: Bytes) -> Result<T, ClientError> {
        let answer = timeout(PATIENCE, self.send(self.complete(request, body)?)).await;
        let (status, body) = answer.map_err(|_| ClientError::Silent)??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(ClientError::Unreadable);
        }
        Err(refused(status, &body))
    }

    /// A stream that begins there, or after this event.
    pub(crate) async fn follow(&self, path: &str, last_id: Option<&str>) -> Result<Incoming, ClientError> {
        let mut request = Request::get(path);
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let request = self.complete(request, Bytes::new())?;
        let response = timeout(PATIENCE, self.place.ask(request)).await;
        let response = response.map_err(|_| ClientError::Silent)??;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        Err(refused(status, &whole(response).await?))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), ClientError> {
        let response = self.place.ask(request).await?;
        Ok((response.status(), whole(response).await?))
    }

    fn complete(&self, request: Builder, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = request
            .header(header::HOST, self.place.host())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = self.place.authorization() {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body));
        request.map_err(|error| ClientError::Broken(error.to_string()))
    }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await;
    let body = body.map_err(|error| ClientError::Broken(with_causes(&*error)))?;
    Ok(body.to_bytes())
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let text = match serde_json::from_slice(body) {
        Ok(Problem { detail, errors }) if errors.is_empty() => detail,
        Ok(Problem { detail, errors }) => format!("{detail}:\n  {}", errors.join("\n  ")),
        Err(_) if status == StatusCode::UPGRADE_REQUIRED => WEBSOCKET.to_owned(),
        Err(_) => format!("the daemon says {status}"),
    };
    ClientError::Refused { status, text }
}

fn resting_on(request: Builder, expected: &Expected) -> Builder {
    match expected {
        Expected::Nothing => request.header(header::IF_NONE_MATCH, "*"),
        Expected::Tag(tag) => request.header(header::IF_MATCH, tag),
    }
}

fn json(what: &impl Serialize) -> Result<Bytes, ClientError> {
    let json = serde_json::to_vec(what).map_err(|error| ClientError::Broken(error.to_string()))?;
    Ok(json.into())
}

pub(crate) fn broken(error: &hyper::Error) -> ClientError {
    ClientError::Broken(with_causes(error))
}

/// An error, and what has caused it.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// A name as a part of a path.
pub(crate) fn part(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_for_websocket_is_named_as_such() {
        let error = refused(StatusCode::UPGRADE_REQUIRED, b"this port is for WebSocket");
        assert_eq!(error.to_string(), WEBSOCKET);
        let error = refused(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(error.to_string(), "the daemon says 502 Bad Gateway");
    }
}
