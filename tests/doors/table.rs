//! Every request over HTTP, of both daemons, with every role, as docs/secure.md says: allowed, or refused with a line of the audit log.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read as _, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
};

use broker_endpoint::tls::Identity;
use mgmt_api::access::Role::{self, Admin, Deploy, Read};
use serde_json::Value;
use tempfile::TempDir;

use super::Hub;
use crate::support::{
    certificates::{Authority, Validity},
    cluster::{agent_command, start_agent},
    secure::Protected,
};

/// What a request takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Nothing,
    /// A role, in any cluster.
    Any(Role),
    /// A role in the cluster that it names.
    There(Role),
    /// A role in all clusters.
    All(Role),
}
use Takes::{All, Any, Nothing, There};

/// A request, as [`COMMON`] and its siblings have it.
#[derive(Debug)]
struct Row {
    method: &'static str,
    /// As the router has it.
    path: &'static str,
    takes: Takes,
    /// A body that makes sense.
    body: &'static str,
}

/// Of both daemons: method, path, what it takes, and a body that makes sense.
const COMMON: &str = r#"
get    /livez                nothing
get    /readyz               all read
get    /metrics              all read
get    /v1                   any read
get    /v1/openapi.json      any read
get    /v1/whoami            any read
post   /v1/reload            all admin
get    /v1/tokens            all admin
post   /v1/tokens            all admin    {"name": "t", "role": "read"}
delete /v1/tokens/{token}    all admin
"#;

const CONTROLLER: &str = r#"
get    /                                                    any read
get    /sd                                                  any read
get    /v1/events                                           any read
get    /v1/clusters                                         any read
get    /v1/clusters/{cluster}/status                        there read
get    /v1/clusters/{cluster}/configurations/staged         there read
put    /v1/clusters/{cluster}/configurations/staged         there deploy    {"instances": [], "nodes": []}
get    /v1/clusters/{cluster}/configurations/deployed       there read
post   /v1/clusters/{cluster}/plans                         there deploy    {"instances": [], "nodes": []}
get    /v1/clusters/{cluster}/deployments                   there read
post   /v1/clusters/{cluster}/deployments                   there deploy
get    /v1/clusters/{cluster}/deployments/{deployment}      there read
get    /v1/clusters/{cluster}/rollout                       there read
post   /v1/clusters/{cluster}/rollout                       there deploy    {}
post   /v1/clusters/{cluster}/rollout/pause                 there deploy
post   /v1/clusters/{cluster}/rollout/resume                there deploy
post   /v1/clusters/{cluster}/rollout/abort                 there deploy
get    /v1/clusters/{cluster}/revisions                     there read
get    /v1/clusters/{cluster}/revisions/{revision}          there read
get    /v1/clusters/{cluster}/variables/{id}                there read
get    /v1/clusters/{cluster}/nodes/{node}/variables/{id}   there read
get    /v1/clusters/{cluster}/nodes/{node}/outputs          there read
get    /v1/clusters/{cluster}/nodes/{node}/history          there read
post   /v1/clusters/{cluster}/nodes/stop                    there deploy    {"all": true}
post   /v1/clusters/{cluster}/nodes/start                   there deploy    {"all": true}
post   /v1/clusters/{cluster}/nodes/restart                 there deploy    {"all": true}
delete /v1/clusters/{cluster}                               there admin
get    /v1/enrolments                                       all admin
post   /v1/enrolments                                       all admin    {"instance": "a"}
delete /v1/enrolments/{instance}                            all admin
"#;

/// Of which no role decides, but what the request shows: tests/enrolment has it.
const OF_STRANGERS: &str = "/v1/certificates";

const AGENT: &str = r#"
get    /v1/status                  all read
post   /v1/adopt                   all admin
get    /v1/nodes/{node}/outputs    all read
get    /v1/nodes/{node}/history    all read
get    /v1/nodes/{node}/metrics    all read
post   /v1/nodes/stop              all deploy    {"all": true}
post   /v1/nodes/start             all deploy    {"all": true}
"#;

/// The rows of such tables.
fn rows(tables: &[&'static str]) -> Vec<Row> {
    let lines = tables.iter().flat_map(|table| table.trim().lines());
    let row = |line: &'static str| {
        let body = line.find("   {").map_or("", |place| line[place..].trim());
        let words: Vec<&str> = line[..line.len() - body.len()].split_whitespace().collect();
        let (method, path, takes, role) = match words[..] {
            [method, path, "nothing"] => {
                return Row {
                    method,
                    path,
                    takes: Nothing,
                    body,
                };
            }
            [method, path, takes, role] => (method, path, takes, role),
            _ => panic!("{line}"),
        };
        let takes = match takes {
            "any" => Any,
            "there" => There,
            _ => All,
        };
        let takes = takes(role.parse().expect("a role"));
        Row {
            method,
            path,
            takes,
            body,
        }
    };
    lines.map(row).collect()
}

/// The name in a certificate, the line of `roles` about it, and the role, in one cluster or in all.
pub(super) type Holder = (&'static str, &'static str, Option<(Role, Option<&'static str>)>);

pub(super) const HOLDERS: &[Holder] = &[
    ("stranger", "", None),
    ("reader", "reader read", Some((Read, None))),
    ("deployer", "deployer deploy", Some((Deploy, None))),
    ("admin", "admin admin", Some((Admin, None))),
    ("lab-reader", "lab-reader read lab", Some((Read, Some("lab")))),
    (
        "lab-deployer",
        "lab-deployer deploy lab",
        Some((Deploy, Some("lab"))),
    ),
    ("lab-admin", "lab-admin admin lab", Some((Admin, Some("lab")))),
    ("sensor1", "sensor1 agent", None),
];

/// Whether one who has this role, or none, may ask for that in this cluster.
pub(super) fn may(has: Option<(Role, Option<&str>)>, takes: Takes, cluster: &str) -> bool {
    match (has, takes) {
        (_, Nothing) => true,
        (None, _) => false,
        (Some((role, _)), Any(least)) => role >= least,
        (Some((role, place)), There(least)) => role >= least && place.is_none_or(|place| place == cluster),
        (Some((role, place)), All(least)) => role >= least && place.is_none(),
    }
}

/// Setting `roles`, where these lines are none of an agent's.
pub(super) fn roles(lines: impl Iterator<Item = &'static str>) -> String {
    let lines: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line:?}"))
        .collect();
    format!("roles = [{}]\n", lines.join(", "))
}

/// Asks each row of a table by each certificate, and without one; each from an address of its own, so that each refusal has its line of the audit log.
struct Asking<'a> {
    ca: &'a Path,
    to: SocketAddr,
    next: u32,
    refused: BTreeSet<Ipv4Addr>,
}

impl<'a> Asking<'a> {
    const fn new(ca: &'a Path, to: SocketAddr) -> Self {
        Self {
            ca,
            to,
            next: 0,
            refused: BTreeSet::new(),
        }
    }

    /// A request that was sent.
    fn send(
        &self,
        from: Ipv4Addr,
        identity: Option<&Identity>,
        line: &str,
        body: &str,
    ) -> impl std::io::Read + use<> {
        let client = Protected {
            ca: self.ca,
            identity,
        };
        let mut stream = client
            .connect_from(from, self.to)
            .expect("the certificate is good");
        let to = self.to;
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("it is read");
        stream
    }

    /// The status of an answer. The rest is not read: there are streams.
    fn status(&self, from: Ipv4Addr, identity: Option<&Identity>, line: &str, body: &str) -> u16 {
        let mut status = String::new();
        let answer = self.send(from, identity, line, body);
        BufReader::new(answer).read_line(&mut status).expect("an answer");
        let status = status.split(' ').nth(1).expect("a status");
        status.parse().expect("a number")
    }

    /// The rows are all requests that there are.
    fn assert_complete(&self, rows: &[Row], reader: &Identity) {
        let mut answer = String::new();
        let mut sent = self.send(Ipv4Addr::LOCALHOST, Some(reader), "GET /v1/openapi.json", "");
        // Without TLS's own end.
        let _ = sent.read_to_string(&mut answer);
        let (_, document) = answer.split_once("\r\n\r\n").expect("a body");
        let document: Value = serde_json::from_str(document).expect("JSON");
        let mut there = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            let methods = item.as_object().expect("methods").keys();
            let methods = methods.filter(|key| *key != "parameters");
            there.extend(methods.map(|method| (method.clone(), path.clone())));
        }
        there.retain(|(_, path)| path != OF_STRANGERS);
        let row = |row: &Row| (row.method.to_owned(), row.path.to_owned());
        assert_eq!(there, rows.iter().map(row).collect());
    }

    fn ask(&mut self, row: &Row, cluster: &str, who: &str, identity: Option<&Identity>, may: bool) {
        let Row {
            method, path, body, ..
        } = row;
        let path = path.replace("{cluster}", cluster).replace(['{', '}'], "");
        let line = format!("{} {path}", method.to_uppercase());
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + self.next);
        self.next += 1;
        let status = self.status(from, identity, &line, body);
        let is_refused = [401, 403].contains(&status);
        assert_eq!(is_refused, !may, "{who}: {line}: {status}");
        assert!(status < 500 || path == "/readyz", "{who}: {line}: {status}");
        assert_eq!(
            status == 401,
            is_refused && identity.is_none(),
            "{who}: {line}: {status}"
        );
        if is_refused {
            self.refused.insert(from);
        }
    }

    fn ask_all(&mut self, rows: &[Row], sign: impl Fn(&str) -> Identity, holders: &[Holder]) {
        let identities: Vec<_> = holders.iter().map(|(name, ..)| sign(name)).collect();
        for row in rows {
            let clusters = if row.path.contains("{cluster}") {
                &["lab", "default"][..]
            } else {
                &["lab"]
            };
            for cluster in clusters {
                for ((name, _, has), identity) in holders.iter().zip(&identities) {
                    self.ask(row, cluster, name, Some(identity), may(*has, row.takes, cluster));
                }
                self.ask(
                    row,
                    cluster,
                    "without a certificate",
                    None,
                    may(None, row.takes, cluster),
                );
            }
        }
    }

    /// The audit log of a daemon that has ended has a line for each refusal.
    fn check(&self, audit: &Path) {
        let audit = fs::read_to_string(audit).expect("it is there");
        let lines = audit
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let refused = lines.filter(|line| line["outcome"] == "refused" && line["transport"] == "http");
        let addresses: Vec<Ipv4Addr> = refused
            .map(|line| {
                let address: SocketAddrV4 = line["address"]
                    .as_str()
                    .expect("text")
                    .parse()
                    .expect("an address");
                *address.ip()
            })
            .collect();
        assert_eq!(addresses.len(), self.refused.len(), "one line each");
        assert_eq!(addresses.into_iter().collect::<BTreeSet<_>>(), self.refused);
    }
}

#[test]
fn each_role_may_over_http_what_the_table_says_of_a_controller() {
    let hub = Hub::start(&roles(HOLDERS.iter().map(|(_, line, _)| *line)));
    let audit = hub.controller.working_dir("controller").join("audit.log");
    let mut asking = Asking::new(&hub.ca_file, hub.http());
    let rows = rows(&[CONTROLLER, COMMON]);
    asking.assert_complete(&rows, &hub.named("reader", &[]));
    asking.ask_all(&rows, |name| hub.named(name, &[]), HOLDERS);
    hub.controller.stop();
    asking.check(&audit);
}

#[test]
fn each_role_may_over_http_what_the_table_says_of_an_agent() {
    let ca = Authority::new("Cluster CA");
    let own = ca.sign("sensor1", &["127.0.0.1"], &Validity::Now);
    let home = TempDir::with_prefix("doors-").expect("a directory can be made");
    // An agent has neither clusters nor agents.
    let holders: Vec<Holder> = HOLDERS
        .iter()
        .copied()
        .filter(|(_, line, has)| line.is_empty() || has.is_some_and(|(_, cluster)| cluster.is_none()))
        .collect();
    fs::write(
        home.path().join("agent.toml"),
        roles(holders.iter().map(|(_, line, _)| *line)),
    )
    .expect("written");
    let mut command = agent_command(&home, "sensor1", "127.0.0.1:0");
    command.args([
        "--simulate",
        "--controller",
        "off",
        "--config",
        "agent.toml",
        "--http-listen",
        "127.0.0.1:0",
    ]);
    for (setting, path) in [
        ("--http-certificate", &own.certificate),
        ("--http-key", &own.key),
        ("--http-client-ca", &ca.path("ca.pem")),
    ] {
        command.arg(setting).arg(path);
    }
    let agent = start_agent(&home, &mut command);
    let ca_file = ca.path("ca.pem");
    let mut asking = Asking::new(&ca_file, agent.listens("http"));
    let rows = rows(&[AGENT, COMMON]);
    let sign = |name: &str| ca.sign(name, &[], &Validity::Now);
    asking.assert_complete(&rows, &sign("reader"));
    asking.ask_all(&rows, sign, &holders);
    agent.stop();
    asking.check(&home.path().join("state/nodes/sensor1/audit.log"));
}
