//! Asks a controller for a certificate.

use std::time::Duration;

use broker_endpoint::{
    tls::{Certificate, Fingerprint, PinnedError, PrivateKey, connect_pinned},
    with_causes,
};
use mgmt_api::operator::enrolment::{
    CONTROLLER_PREFIX, CertificateRequest, Enrolled, IssuedCertificate, host_and_port,
};
use mgmt_daemon::http::{
    axum::{
        body::Body,
        http::{Request, header},
    },
    exchange,
};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

/// How long all of it may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long the answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// There is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{url} is no URL of a controller")]
    Url { url: String },
    #[error("cannot connect to the controller at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("what answers at {url} is not the controller that is meant")]
    Other { url: String, source: PinnedError },
    #[error(
        "what answers at {url} has a certificate of the right CA, for {subject}, and not for a controller"
    )]
    NoController { url: String, subject: String },
    #[error("the controller at {url} refuses: {reason}")]
    Refused { url: String, reason: String },
    #[error("the controller at {url} answers what makes no sense: {reason}")]
    Unreadable { url: String, reason: String },
}

/// What of a problem (RFC 9457) is shown.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Asks for a certificate for this key, and perhaps shows a secret. The answer is for this key and of the CA that is meant.
pub(super) async fn certificate(
    enrolled: &Enrolled,
    key: &PrivateKey,
    secret: Option<&str>,
    asked: &CertificateRequest,
) -> Result<IssuedCertificate, AskError> {
    let url = || enrolled.url.clone();
    let answer = timeout(ANSWER_MAX, ask(enrolled, secret, asked)).await;
    let issued = answer.map_err(|_| AskError::Unreachable {
        url: url(),
        reason: format!("it has not answered within {} s", ANSWER_MAX.as_secs()),
    })??;
    let unreadable = |reason: String| AskError::Unreadable { url: url(), reason };
    let read = |pem: &str| {
        let certificate = Certificate::from_pem(pem.as_bytes());
        certificate.map_err(|error| unreadable(with_causes(&error)))
    };
    let is_meant = read(&issued.ca)?
        .fingerprint()
        .is_ok_and(|ca| ca == Fingerprint(enrolled.ca));
    if !read(&issued.certificate)?.belongs_to(key) || !is_meant {
        return Err(unreadable(
            "a certificate for another key, or of another CA".to_owned(),
        ));
    }
    Ok(issued)
}

async fn ask(
    enrolled: &Enrolled,
    secret: Option<&str>,
    asked: &CertificateRequest,
) -> Result<IssuedCertificate, AskError> {
    let url = || enrolled.url.clone();
    let place = host_and_port(&enrolled.url).ok_or_else(|| AskError::Url { url: url() })?;
    let unreachable = |reason: String| AskError::Unreachable { url: url(), reason };
    let stream = TcpStream::connect(place).await;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    let connected = connect_pinned(stream, &Fingerprint(enrolled.ca), ANSWER_MAX).await;
    let (stream, server) = connected.map_err(|source| AskError::Other { url: url(), source })?;
    let is_controller = |name: &str| name.starts_with(CONTROLLER_PREFIX);
    let mut names = server.names.iter().filter_map(|name| name.as_str());
    if !names.any(is_controller) {
        return Err(AskError::NoController {
            url: url(),
            subject: server.subject.to_string(),
        });
    }
    let unreadable = |reason: String| AskError::Unreadable { url: url(), reason };
    let body = serde_json::to_vec(asked).map_err(|error| unreadable(error.to_string()))?;
    let host = enrolled.url.trim_start_matches("https://").trim_end_matches('/');
    let mut request = Request::post("/v1/certificates")
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(secret) = secret {
        request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
    }
    let request = request
        .body(Body::from(body))
        .map_err(|error| unreadable(error.to_string()))?;
    let answer = exchange(stream, request, ANSWER_BYTES_MAX).await;
    let (head, body) = answer.map_err(unreachable)?.into_parts();
    if !head.status.is_success() {
        let problem = serde_json::from_slice(&body);
        let reason = problem.map_or_else(|_| head.status.to_string(), |Problem { detail }| detail);
        return Err(AskError::Refused { url: url(), reason });
    }
    serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))
}
