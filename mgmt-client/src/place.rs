//! Where a daemon is asked: on its control socket, or on its HTTP port.

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::HeaderValue,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{
    client::{ClientError, broken},
    options::Options,
    tls::{self, Connector},
};

/// Where packages put the sockets.
const SOCKETS: [&str; 2] = ["/run/zeek-mgmt/controller.sock", "/run/zeek-mgmt/agent.sock"];

/// The port of a server whose port is not named.
const PORT: u16 = 2148;

/// How long a connection may take to come about, each of TCP and TLS.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// The longest file of a token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Where a daemon is asked.
#[derive(Clone)]
pub(crate) enum Place {
    Socket(PathBuf),
    Server(Server),
}

/// A daemon's HTTP port.
#[derive(Clone)]
pub(crate) struct Server {
    /// As a URL, for people.
    url: String,
    /// A name, or an address without brackets.
    host: String,
    port: u16,
    /// What the field `Host` says.
    authority: String,
    tls: Option<Connector>,
    /// The field `Authorization`, if there is a token.
    token: Option<HeaderValue>,
}

impl Place {
    /// What is named on the command line, else by a variable, else the first socket that there is.
    pub(crate) fn of(options: &Options) -> Result<Self, ClientError> {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let socket = options.socket.clone().filter(|path| !path.as_os_str().is_empty());
        match (options.server.as_deref(), socket) {
            (Some(_), Some(_)) => {
                return Err(ClientError::Usage("name a server or a socket, not both"));
            }
            (Some(url), None) => return Server::new(url, options).map(Self::Server),
            (None, Some(socket)) => return Ok(Self::Socket(socket)),
            (None, None) => {}
        }
        if let Some(url) = variable("MGMT_SERVER") {
            return Server::new(&url.to_string_lossy(), options).map(Self::Server);
        }
        let usual = || SOCKETS.iter().map(PathBuf::from).find(|path| path.exists());
        let socket = variable("MGMT_SOCKET").map(PathBuf::from).or_else(usual);
        socket.map(Self::Socket).ok_or(ClientError::NoSocket)
    }

    /// What the field `Host` says.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Socket(_) => "localhost",
            Self::Server(server) => &server.authority,
        }
    }

    /// What the field `Authorization` says, if anything.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        match self {
            Self::Socket(_) => None,
            Self::Server(server) => server.token.as_ref(),
        }
    }

    /// Asks on a connection of its own.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|source| ClientError::Connect {
                    path: path.clone(),
                    source,
                })?;
                ask_on(stream, request).await
            }
            Self::Server(server) => server.ask(request).await,
        }
    }
}

impl Server {
    fn new(url: &str, options: &Options) -> Result<Self, ClientError> {
        let wrong = |reason: &str| ClientError::Options(format!("{url} is no server's address: {reason}"));
        let uri: Uri = url.parse().map_err(|_| wrong("write https://HOST:PORT"))?;
        let (Some(scheme), Some(authority), "" | "/", None) =
            (uri.scheme_str(), uri.authority(), uri.path(), uri.query())
        else {
            return Err(wrong("write https://HOST:PORT"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong("a token comes from a file or MGMT_TOKEN"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_loopback =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let tls = match scheme {
            "https" => Some(connector(options)?),
            "http" if is_loopback => None,
            "http" => {
                return Err(wrong(
                    "without TLS a token could be read on the way: use https://, or a loopback address",
                ));
            }
            _ => return Err(wrong("it begins with https://")),
        };
        let port = match authority
            .as_str()
            .rsplit_once(']')
            .map_or(authority.as_str(), |(_, rest)| rest)
        {
            rest if !rest.contains(':') => PORT,
            _ => authority
                .port_u16()
                .ok_or_else(|| wrong("its port is 1 to 65535"))?,
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            authority: format!("{}:{port}", authority.host()),
            host,
            port,
            tls,
            token: token(options)?,
        })
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let failed = |reason: String| ClientError::Unreachable {
            server: self.url.clone(),
            reason,
        };
        let late = |_| {
            failed(format!(
                "no connection within {} s: is a firewall between?",
                CONNECT_PATIENCE.as_secs()
            ))
        };
        let connecting = TcpStream::connect((&*self.host, self.port));
        let stream = timeout(CONNECT_PATIENCE, connecting).await.map_err(late)?;
        let stream = stream.map_err(|error| failed(format!("{error}{}", advice(&error))))?;
        let Some(connector) = &self.tls else {
            return ask_on(stream, request).await;
        };
        let handshake = timeout(CONNECT_PATIENCE, tls::connect(connector, &self.host, stream)).await;
        let late = |_| {
            failed(format!(
                "no TLS within {} s: does it speak TLS?",
                CONNECT_PATIENCE.as_secs()
            ))
        };
        let stream = handshake.map_err(late)?.map_err(failed)?;
        ask_on(stream, request).await.map_err(|error| match &error {
            ClientError::Broken(text) => tls::broken(connector, text).map_or(error, failed),
            _ => error,
        })
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; the daemon does not run, or has another http_listen",
        _ => "",
    }
}

async fn ask_on<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // How it ends, the request hears.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| broken(&error))
}

fn connector(options: &Options) -> Result<Connector, ClientError> {
    let own = match (options.cert.as_deref(), options.key.as_deref()) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(ClientError::Usage("--cert and --key belong together")),
    };
    tls::connector(options.ca.as_deref(), own).map_err(ClientError::Tls)
}

/// The token of a file, else that of `MGMT_TOKEN`.
fn token(options: &Options) -> Result<Option<HeaderValue>, ClientError> {
    let (token, place) = match &options.token_file {
        Some(path) => (read(path)?, path.display().to_string()),
        None => match env::var("MGMT_TOKEN") {
            Ok(token) if !token.is_empty() => (token, "MGMT_TOKEN".to_owned()),
            _ => return Ok(None),
        },
    };
    let token = token.trim();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).ok();
    let mut value = value
        .filter(|_| !token.is_empty() && !token.contains(char::is_whitespace))
        .ok_or_else(|| ClientError::Options(format!("{place} holds no token, which is one word")))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read(path: &Path) -> Result<String, ClientError> {
    let failed = |source| ClientError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(TOKEN_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}
