//! Who asks over TCP: each request says so, before its body is read, and is asked again when that is there: a token may be revoked meanwhile.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, Method, StatusCode,
        header::{ACCEPT, AUTHORIZATION, HOST, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use broker_codec::data::Excerpt;
use broker_endpoint::{
    Hosts, is_page_of,
    pending::Place,
    tls::{PeerCertificate, Revoked, TlsContext},
};
use counters::Counters;
use data_encoding::BASE64;
use mgmt_api::{Principal, Proof, Transport, access::Grant};

use super::{
    answer::Problem,
    bodies::{changes, whole},
    guard::Guard,
    note::Note,
    stranger::Stranger,
    under_way::{Taken, UnderWay},
};
use crate::{
    Counted,
    grants::{Grants, Recognized, Shown, principals},
};

/// What a monitor may ask without saying who it is: the answer tells nothing.
pub(super) const FOR_ALL: &str = "/livez";

/// What one asks for who has no token and no certificate yet: the route knows what it takes ([`Stranger`]).
pub(super) const FOR_STRANGERS: &str = "/v1/certificates";

/// The longest body of such a request, in bytes.
const STRANGERS_BODY_BYTES_MAX: usize = 64 * 1024;

/// What decides whether a request that comes over TCP is let in.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) grants: Grants,
    pub(super) guard: Guard,
    /// The names by which the daemon may be asked, besides those in its certificate.
    pub(super) hosts: Vec<String>,
    pub(super) tls: Option<TlsContext>,
    pub(super) revoked: Revoked,
    pub(super) under_way: UnderWay,
    pub(super) counters: Counters<Counted>,
}

/// A connection, and who has asked on it.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<PeerCertificate>,
    /// What the latest request has shown, and whom it was taken for.
    latest: Mutex<Option<(Shown, Principal)>>,
    /// Its place among those of which it is not known who they are, until it is known.
    place: Mutex<Option<Place>>,
}

impl Caller {
    pub(super) fn new(address: SocketAddr, certificate: Option<PeerCertificate>, place: Place) -> Self {
        Self {
            address,
            certificate,
            latest: Mutex::default(),
            place: Mutex::new(Some(place)),
        }
    }

    /// It has sent the head of a request.
    fn spoke(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = &mut *place {
            place.spoke();
        }
    }

    /// It was this that it has shown, and this one that it is.
    fn is_known(&self, shown: Shown, principal: Principal) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some((shown, principal));
    }
}

/// Lets a request in, with whom it is of, or answers it.
pub(super) async fn admit(
    State(entrance): State<Arc<Entrance>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
    next: Next,
) -> Response {
    caller.spoke();
    let note: Note = request.extensions().get().cloned().unwrap_or_default();
    let address = caller.address.ip();
    let refuse = |problem: Problem| {
        if !entrance.guard.is_audited(address) {
            note.leave_out();
        }
        problem.into_response()
    };
    if let Err(problem) = entrance.is_for_us(request.headers(), address) {
        return refuse(problem);
    }
    if request.uri().path() == FOR_ALL {
        return next.run(request).await;
    }
    if request.uri().path() == FOR_STRANGERS && request.method() == Method::POST {
        let admitted = entrance.let_stranger_in(&caller, &note, request).await;
        let request = match admitted {
            Ok(request) => request,
            Err(problem) => return refuse(problem),
        };
        let answer = next.run(request).await;
        if !answer.status().is_success() && !entrance.guard.is_audited(address) {
            note.leave_out();
        }
        return answer;
    }
    match entrance.let_in(&caller, &note, request).await {
        Ok((request, taken)) => taken.end(next.run(request).await),
        Err(problem) => refuse(problem),
    }
}

impl Entrance {
    /// The whole request of one who need not say who it is before its body is read.
    async fn let_stranger_in(
        self: &Arc<Self>,
        caller: &Caller,
        note: &Note,
        request: Request,
    ) -> Result<Request, Problem> {
        // To look at what it shows takes work.
        if !self.guard.looks_at(caller.address.ip()) {
            return Err(self.too_many_wrong(caller.address.ip()));
        }
        let (parts, body) = request.into_parts();
        let secret = single(&parts.headers, &AUTHORIZATION).and_then(bearer);
        let body = Body::from(whole(body, STRANGERS_BODY_BYTES_MAX).await?);
        let stranger = Stranger::new(Arc::clone(self), caller.address, secret, note.clone());
        let mut request = Request::from_parts(parts, body);
        request.extensions_mut().insert(stranger);
        Ok(request)
    }

    /// What this address shows is refused, as too much was wrong.
    fn too_many_wrong(&self, address: IpAddr) -> Problem {
        self.refused(
            Counted::HttpSlowedDown,
            address,
            "a token, after too many wrong ones",
        );
        let detail = format!(
            "too many tokens of {address} were wrong: wait a second; a good token of a program is taken at any time"
        );
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with(RETRY_AFTER, "1")
    }

    /// A browser lets a page have its own name stand for our address (DNS rebinding), and sends what a page of anyone wants sent: so a request names a
    /// host that is ours, and is of no other page than of that host.
    fn is_for_us(&self, headers: &HeaderMap, address: IpAddr) -> Result<(), Problem> {
        let of_certificate = self.tls.iter().flat_map(TlsContext::own_names);
        let hosts = Hosts::new(self.hosts.iter().cloned().chain(of_certificate));
        let host = single(headers, &HOST).unwrap_or_default();
        if !hosts.has(host) {
            self.refused(Counted::HttpForeign, address, "a request for another host");
            let detail = format!(
                "this daemon is not known as {}: ask it by its address, a name in its certificate, or one that the setting http_host names",
                Excerpt::new(host.as_bytes())
            );
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        if headers.contains_key(ORIGIN)
            && !single(headers, &ORIGIN).is_some_and(|origin| is_page_of(origin, host))
        {
            self.refused(
                Counted::HttpForeign,
                address,
                "a request of a web page of another host",
            );
            let detail = "a web page of another host asks (Origin), which may ask nothing here";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    /// The whole request, with whom it is of. Who has a body read has to be who that is when it is there.
    /// Returns what it takes until it is answered, too.
    async fn let_in(
        &self,
        caller: &Caller,
        note: &Note,
        request: Request,
    ) -> Result<(Request, Taken), Problem> {
        let mut principal = self.principal(caller, request.headers())?;
        note.is_of(&principal);
        let changes = changes(request.method());
        // A browser adds it to whatever a page of anyone has it send.
        if changes && is_basic(request.headers()) {
            let detail =
                "a browser's password changes nothing: send the token as Authorization: Bearer TOKEN";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let (mut request, taken) = self.under_way.begin(&principal, request).await?;
        if changes {
            principal = self.principal(caller, request.headers())?;
        }
        request.extensions_mut().insert(principal);
        Ok((request, taken))
    }

    /// Whose request it is.
    fn principal(&self, caller: &Caller, headers: &HeaderMap) -> Result<Principal, Problem> {
        let address = caller.address.ip();
        let shown = if headers.contains_key(AUTHORIZATION) {
            let secret =
                single(headers, &AUTHORIZATION).and_then(|value| bearer(value).or_else(|| basic(value)));
            let Some(secret) = secret else {
                let detail = "the field Authorization is not a token's: Authorization: Bearer TOKEN, once";
                return Err(self.unauthenticated(address, detail, challenge(headers, "Bearer")));
            };
            Shown::token(&secret)
        } else if let Some(certificate) = &caller.certificate {
            Shown::Certificate(certificate.clone())
        } else {
            let detail = "say who you are: by a token (Authorization: Bearer TOKEN), which an administrator makes by mgmtctl token create on the \
                          daemon's host, or by a client certificate, if the daemon has http_client_ca";
            return Err(self.unauthenticated(address, detail, challenge(headers, "Bearer")));
        };
        let invalid = challenge(headers, "Bearer error=\"invalid_token\"");
        let principal = self.recognized(caller, &shown, invalid)?;
        caller.is_known(shown, principal.clone());
        Ok(principal)
    }

    fn recognized(
        &self,
        caller: &Caller,
        shown: &Shown,
        invalid: &'static str,
    ) -> Result<Principal, Problem> {
        let address = caller.address.ip();
        match self.grants.recognize(shown) {
            Recognized::Token(name, grant) => Ok(principal(caller, Proof::Token { name }, grant)),
            Recognized::Certificate(grant) if grant.roles.is_empty() => {
                self.refused(
                    Counted::HttpUnauthenticated,
                    address,
                    "a certificate without a role",
                );
                let detail = if grant.agent_of.is_empty() {
                    "no role is configured for a name in your certificate: an administrator gives one by the setting roles".to_owned()
                } else {
                    format!(
                        "your certificate is an agent's ({grant}), which may ask for nothing over HTTP: an administrator gives a role by the \
                         setting roles"
                    )
                };
                Err(Problem::new(StatusCode::FORBIDDEN, detail))
            }
            Recognized::Certificate(grant) => Ok(principal(caller, Proof::Certificate, grant)),
            Recognized::Expired(name) => {
                let detail = format!(
                    "the token {name} has expired: an administrator makes another one by mgmtctl token create"
                );
                Err(self.unauthenticated(address, detail, invalid))
            }
            Recognized::Unknown => {
                // A good one is taken all the while: others may have the same address.
                if !self.guard.looks_at(address) {
                    return Err(self.too_many_wrong(address));
                }
                self.guard.was_wrong(address);
                let detail = "this is no token of this daemon, or it was revoked; mgmtctl token list on the daemon's host lists those that there are";
                Err(self.unauthenticated(address, detail, invalid))
            }
        }
    }

    /// Whether the latest request of a connection would still be let in as it was.
    pub(super) fn still_knows(&self, caller: &Caller) -> bool {
        let latest = caller.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((shown, principal)) = &*latest else {
            return true;
        };
        match self.grants.recognize(shown) {
            Recognized::Token(_, grant) | Recognized::Certificate(grant) => Some(grant) == principal.grant,
            Recognized::Expired(_) | Recognized::Unknown => false,
        }
    }

    fn unauthenticated(
        &self,
        address: IpAddr,
        detail: impl Into<String>,
        challenge: &'static str,
    ) -> Problem {
        self.refused(
            Counted::HttpUnauthenticated,
            address,
            "a request without a good token or certificate",
        );
        Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, challenge)
    }

    /// Counts what is refused, and has the log tell of it now and then.
    pub(super) fn refused(&self, counted: Counted, address: IpAddr, what: &str) {
        self.counters.increment(counted);
        if self.guard.is_told(address) {
            tracing::warn!(%address, "refused over HTTP: {what}");
        }
    }
}

fn principal(caller: &Caller, by: Proof, grant: Grant) -> Principal {
    Principal {
        transport: Transport::Http { by },
        address: Some(caller.address),
        certificate: principals(caller.certificate.as_ref()),
        grant: Some(grant),
    }
}

/// A field that is there once, as text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    first.to_str().ok().filter(|_| values.next().is_none())
}

/// What a field `Authorization` of this scheme has behind it.
fn credentials<'a>(scheme: &str, value: &'a str) -> Option<&'a str> {
    let (given, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    (given.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

/// The token in a field `Authorization`.
fn bearer(value: &str) -> Option<String> {
    credentials("bearer", value).map(str::to_owned)
}

/// The token as the password of any user, by which browsers know how to ask for it (RFC 7617).
fn basic(value: &str) -> Option<String> {
    let decoded = BASE64.decode(credentials("basic", value)?.as_bytes()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (_, password) = text.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

fn is_basic(headers: &HeaderMap) -> bool {
    single(headers, &AUTHORIZATION).is_some_and(|value| credentials("basic", value).is_some())
}

/// What is asked for: of a browser that shows what it gets something that its user can type in.
fn challenge(headers: &HeaderMap, otherwise: &'static str) -> &'static str {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        "Basic realm=\"a token of this daemon as the password\", charset=\"UTF-8\""
    } else {
        otherwise
    }
}
