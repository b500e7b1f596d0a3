//! Passes on what another server of this host says.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use mgmt_daemon::http::{
    Problem,
    axum::{
        body::Body,
        http::{HeaderValue, Request, StatusCode, header},
        response::{IntoResponse, Response},
    },
    exchange,
};
use tokio::{net::TcpStream, time::timeout};

/// How long the other server may take for all of it.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long its answer may be, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The metrics that are served at an address. One that is not specified is that of this host.
///
/// # Errors
///
/// 502 if there are none, or more than 16 MiB; 504 if they are not there within 5 s.
pub(crate) async fn metrics_at(address: SocketAddr) -> Result<Response, Problem> {
    let address = reachable(address);
    let bad = |reason: String| {
        let detail = format!("no metrics can be had at {address}: {reason}");
        Problem::new(StatusCode::BAD_GATEWAY, detail)
    };
    match timeout(ANSWER_MAX, fetch(address)).await {
        Ok(answer) => answer.map_err(bad),
        Err(_) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "{address} has not given its metrics within {} s",
                ANSWER_MAX.as_secs()
            ),
        )),
    }
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, address.port()).into()
}

async fn fetch(address: SocketAddr) -> Result<Response, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let request = Request::get("/metrics").header(header::HOST, address.to_string());
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    let (head, body) = exchange(stream, request, BODY_BYTES_MAX).await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("it answers {}", head.status));
    }
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .filter(|kind| is_metrics(kind));
    let kind = kind
        .cloned()
        .unwrap_or(HeaderValue::from_static("text/plain; version=0.0.4"));
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// Whether it is one of Prometheus' formats, which no browser runs.
fn is_metrics(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    ["text/plain", "application/openmetrics-text"]
        .iter()
        .any(|known| kind.starts_with(known))
}

#[cfg(test)]
mod tests {
    use mgmt_daemon::http::axum::body::to_bytes;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// What is passed on of a server that says this and ends, or says nothing more.
    async fn passed_on(said: &str, ends: bool) -> (StatusCode, String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let said = said.to_owned();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:"));
            stream.write_all(said.as_bytes()).await.unwrap();
            if !ends {
                std::future::pending::<()>().await;
            }
        });
        let answer = metrics_at(([0, 0, 0, 0], address.port()).into()).await;
        server.abort();
        let answer = answer.unwrap_or_else(IntoResponse::into_response);
        let kind = answer.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 4096).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn metrics_are_passed_on_and_nothing_else_is() {
        let good = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";
        let (status, kind, body) = passed_on(&format!("{good}Content-Length: 4\r\n\r\na 1\n"), true).await;
        assert_eq!(
            (status, &*kind, &*body),
            (StatusCode::OK, "text/plain; charset=utf-8", "a 1\n")
        );
        // Until its end.
        let (_, _, body) = passed_on(&format!("{good}\r\na 1\nb 2\n"), true).await;
        assert_eq!(body, "a 1\nb 2\n");
        let (_, kind, _) = passed_on("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>", true).await;
        assert_eq!(kind, "text/plain; version=0.0.4");
        let refused = passed_on("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true).await;
        assert_eq!(refused.0, StatusCode::BAD_GATEWAY);
        assert!(refused.2.contains("it answers 404 Not Found"), "{refused:?}");
        assert_eq!(passed_on("SSH-2.0\r\n", true).await.0, StatusCode::BAD_GATEWAY);
        let long = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            BODY_BYTES_MAX + 1
        );
        assert_eq!(passed_on(&long, true).await.0, StatusCode::BAD_GATEWAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_waited_for_a_short_time() {
        let (status, ..) = passed_on("HTTP/1.1 200 OK\r\n", false).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    }
}
