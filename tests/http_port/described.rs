//! What the daemons answer is what their `OpenAPI` documents say: routes, statuses, and the roles that requests take.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use serde_json::{Value, json};

use super::{Served, agent, bearer, body, connection_from, send_from};
use crate::support::{home, mgmtctl};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// A daemon, with tokens that are there.
struct Asked {
    to: SocketAddr,
    /// Of each role in all clusters.
    tokens: [(&'static str, String); 3],
    /// Of one that may read in no cluster that there is, if that can be.
    elsewhere: Option<String>,
}

impl Asked {
    fn new(to: SocketAddr, directory: &Path, has_clusters: bool) -> Self {
        let token = |name: &str, further: &[&str]| {
            let made = mgmtctl::ask(
                directory,
                &[&["token", "create", name, "--role"], further].concat(),
            );
            made.printed().trim_end().to_owned()
        };
        Self {
            to,
            tokens: ["read", "deploy", "admin"].map(|role| (role, token(role, &[role]))),
            elsewhere: has_clusters.then(|| token("elsewhere", &["read", "--cluster", "nowhere"])),
        }
    }

    fn admin(&self) -> &str {
        &self.tokens[2].1
    }

    fn document(&self) -> Value {
        let fields = bearer(self.elsewhere.as_ref().unwrap_or(&self.tokens[0].1));
        body(&send_from(
            Ipv4Addr::LOCALHOST,
            self.to,
            "GET /v1/openapi.json",
            &fields,
            "",
        ))
    }

    /// The status of an answer, and what it says, unless that does not end.
    fn answer(&self, method: &str, path: &str, token: Option<&str>) -> (String, String) {
        let path = path.replace("{cluster}", "default").replace(['{', '}'], "");
        let (method, fields) = (method.to_uppercase(), token.map(bearer).unwrap_or_default());
        let mut stream = connection_from(Ipv4Addr::LOCALHOST, self.to);
        let to = self.to;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {to}\r\n{fields}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).expect("it listens");
        let (mut stream, mut head, mut body) = (BufReader::new(stream), String::new(), String::new());
        while !head.ends_with("\r\n\r\n") {
            assert!(
                stream.read_line(&mut head).expect("text") > 0,
                "{method} {path}: {head}"
            );
        }
        if !head.contains("text/event-stream") {
            let _ = stream.read_to_string(&mut body);
        }
        (head.split(' ').nth(1).expect("a status").to_owned(), body)
    }

    /// Looks whether an operation answers, and whom.
    fn is_as_described(&self, method: &str, path: &str, operation: &Value) {
        let what = format!("{method} {path}");
        let role = operation["security"][0]["bearer"][0].as_str();
        let place = self.tokens.iter().position(|(name, _)| Some(*name) == role);
        let refused = match place {
            None => None,
            Some(0) => self.elsewhere.as_ref(),
            Some(place) => Some(&self.tokens[place - 1].1),
        };
        if let Some(token) = refused {
            let (status, body) = self.answer(method, path, Some(token));
            assert_eq!(status, "403", "{what}: {body}");
        }
        let first = self.elsewhere.as_ref().unwrap_or(&self.tokens[0].1);
        let token = place.map_or(first, |place| &self.tokens[place].1);
        let (status, body) = self.answer(method, path, Some(token));
        assert_ne!(status, "403", "{what}: {body}");
        assert!(
            operation["responses"].get(&status).is_some(),
            "{what}: {status} {body}"
        );
        assert!(!body.contains("there is no such path"), "{what}: {body}");
        let ways = operation["security"].as_array().expect("a list");
        let is_for_all = ways.is_empty() || ways.contains(&json!({}));
        let (status, _) = self.answer(method, path, None);
        assert_eq!(status == "401", !is_for_all, "{what}: {status}");
    }

    /// Looks at every operation of the document, and at what is in none.
    fn is_all_as_described(&self) {
        let document = self.document();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in METHODS {
                if let Some(operation) = item.get(method) {
                    let id = operation["operationId"].as_str().expect("an id");
                    assert!(ids.insert(id.to_owned()), "{id} is there twice");
                    self.is_as_described(method, path, operation);
                } else {
                    let (status, body) = self.answer(method, path, Some(self.admin()));
                    assert_eq!(status, "405", "{method} {path}: {body}");
                }
            }
        }
        let (status, body) = self.answer("get", "/v1/nowhere", Some(self.admin()));
        assert!(
            status == "404" && body.contains("there is no such path"),
            "{body}"
        );
    }
}

#[test]
fn the_controller_answers_as_its_document_says() {
    let served = Served::start(&[]);
    Asked::new(served.address(), &served.directory(), true).is_all_as_described();
    served.controller.stop();
}

#[test]
fn the_agent_answers_as_its_document_says() {
    let home = home();
    let (daemon, directory) = agent(&home);
    Asked::new(daemon.listens("http"), &directory, false).is_all_as_described();
    daemon.stop();
}
