//! The `OpenAPI` document of a daemon: what its handlers say of themselves, with what all of them have in common.
//!
//! It is made when it is first asked for.

use axum::http::StatusCode;
use mgmt_api::operator::{About, Program};
use serde_json::{Map, Value, json};

use super::{
    admit::{FOR_ALL, FOR_STRANGERS},
    answer::{self, PROBLEM},
    routes::Describe,
};

/// What handlers have no words for: why a request is not carried out, by the status that says so.
const PROBLEMS: &[(StatusCode, &str)] = &[
    (StatusCode::BAD_REQUEST, "The request cannot be read."),
    (
        StatusCode::UNAUTHORIZED,
        "Over TCP: no token and no certificate was shown, or a token that is not known or has expired.",
    ),
    (
        StatusCode::FORBIDDEN,
        "Who asks has not the role that it takes; over TCP also if a browser's password (Basic) is to change something, or a web page of another \
         host asks.",
    ),
    (StatusCode::NOT_FOUND, "What the path names is not there."),
    (
        StatusCode::CONFLICT,
        "It cannot be done as things are; trying again does not help.",
    ),
    (
        StatusCode::PRECONDITION_FAILED,
        "Something else is deployed than `If-Match` or `If-None-Match` says.",
    ),
    (
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is longer than 16 MiB; 64 KiB where a certificate is asked for.",
    ),
    (
        StatusCode::MISDIRECTED_REQUEST,
        "Over TCP: the daemon is not known by the name in `Host`.",
    ),
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        "The body can be read, and what it says is wrong: `errors` has each thing.",
    ),
    (
        StatusCode::PRECONDITION_REQUIRED,
        "`If-Match` or `If-None-Match` is missing.",
    ),
    (
        StatusCode::TOO_MANY_REQUESTS,
        "Over TCP: the token is wrong, as too many of its address were before. `Retry-After` says in how many seconds the next one is looked at.",
    ),
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "The host has no random numbers.",
    ),
    (StatusCode::BAD_GATEWAY, "The node tells no metrics."),
    (StatusCode::SERVICE_UNAVAILABLE, "It cannot be done now."),
    (
        StatusCode::GATEWAY_TIMEOUT,
        "The node tells its metrics too late.",
    ),
];

/// What may stand in place of a path's parts.
const PARAMETERS: &[(&str, &str)] = &[
    ("cluster", "The name of a cluster, such as `default`"),
    ("deployment", "The id of a deployment"),
    (
        "id",
        "The name of an identifier of Zeek's, such as `Site::local_nets`",
    ),
    ("instance", "The name of an instance"),
    ("node", "The name of a node"),
    ("revision", "The number of a revision"),
    ("token", "The name of a token"),
];

const DESCRIPTION: &str = "\
Over TCP each request but those for `/livez` and `/v1/certificates` shows a token or a client certificate; on the control socket none is asked for. What is listed behind a way to show who \
asks (`security`) is the role that a request takes: in the cluster that its path names, else in all clusters. \
An answer without success is a problem (RFC 9457). \
A reader ignores fields that it does not know, and takes one that is missing as not known; a request with a field that is not known is refused.";

/// The document of the routes that these describe.
pub(super) fn of(about: &About, described: &[Describe]) -> serde_json::Result<Value> {
    let mut parts = described.iter().map(|describe| describe());
    let mut handlers = parts.next().unwrap_or_default();
    parts.for_each(|part| handlers.merge(part));
    let mut document = serde_json::to_value(handlers)?;
    document["info"] = json!({
        "title": match about.program {
            Program::Controller => "mgmt-controller",
            Program::Agent => "mgmt-agent",
        },
        "description": DESCRIPTION,
        "version": about.version,
        "license": { "name": "BSD-3-Clause", "identifier": "BSD-3-Clause" },
    });
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
        let parameters = parameters(path);
        if !parameters.is_empty() {
            item["parameters"] = parameters.into();
        }
    }
    let components = &mut document["components"];
    let schemas = components["schemas"].as_object_mut();
    schemas
        .into_iter()
        .flat_map(Map::values_mut)
        .for_each(forget_defaults);
    components["schemas"]["Problem"] = serde_json::to_value(answer::schema())?;
    components["responses"] = PROBLEMS
        .iter()
        .map(|(status, words)| (name(*status), problem(*status, words)))
        .collect::<Map<_, _>>()
        .into();
    components["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "A token, which `mgmtctl token create` makes" },
        "basic": { "type": "http", "scheme": "basic", "description": "A token as the password of any user, for browsers" },
        "certificate": { "type": "mutualTLS", "description": "A client certificate of the CA in `http_client_ca`" },
    });
    Ok(document)
}

/// A reader takes a field that is missing as not known, and not as what the daemon itself begins with.
fn forget_defaults(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("default");
            for (name, part) in fields {
                match part {
                    Value::Object(named) if name == "properties" => {
                        named.values_mut().for_each(forget_defaults);
                    }
                    part => forget_defaults(part),
                }
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(forget_defaults),
        _ => {}
    }
}

/// The parameters in a path, as in `/v1/tokens/{token}`.
fn parameters(path: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name| {
        let known = PARAMETERS.iter().find(|(known, _)| *known == name);
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": known.map(|(_, words)| words),
            "schema": { "type": "string" },
        })
    };
    names.map(parameter).collect()
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let (is_for_all, is_get) = (path == FOR_ALL, method == "get");
    let is_read = path.contains('{')
        || ["parameters", "requestBody"]
            .iter()
            .any(|part| operation.get(part).is_some());
    let common = [
        (true, StatusCode::MISDIRECTED_REQUEST),
        (true, StatusCode::FORBIDDEN),
        (!is_for_all, StatusCode::UNAUTHORIZED),
        (!is_for_all, StatusCode::TOO_MANY_REQUESTS),
        (!is_get, StatusCode::PAYLOAD_TOO_LARGE),
        (is_read, StatusCode::BAD_REQUEST),
        (path.contains('{'), StatusCode::NOT_FOUND),
        (!is_for_all, StatusCode::SERVICE_UNAVAILABLE),
    ];
    let role = operation.pointer_mut("/security/0/bearer").map(Value::take);
    let role = role.unwrap_or_else(|| json!([]));
    let way = |way: &str| json!({ way: role });
    operation["security"] = match () {
        () if is_for_all => json!([]),
        // The secret of an enrolment token, or what is in the body.
        () if path == FOR_STRANGERS => json!([{}, way("bearer")]),
        () if is_get => json!([way("bearer"), way("basic"), way("certificate")]),
        () => json!([way("bearer"), way("certificate")]),
    };
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (_, status) in common.iter().filter(|(is_so, _)| *is_so) {
        responses.entry(status.as_str()).or_insert_with(|| json!({}));
    }
    for (status, _) in PROBLEMS {
        if let Some(response) = responses.get_mut(status.as_str()) {
            if response.get("description").is_some() {
                // A handler has said more.
                response["content"] = content();
            } else {
                *response = json!({ "$ref": format!("#/components/responses/{}", name(*status)) });
            }
        }
    }
}

/// The name of a problem with this status.
fn name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().replace(' ', "")
}

fn problem(status: StatusCode, words: &str) -> Value {
    let field = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some("Retry-After"),
        StatusCode::UNAUTHORIZED => Some("WWW-Authenticate"),
        _ => None,
    };
    let mut response = json!({ "description": words, "content": content() });
    if let Some(field) = field {
        response["headers"] = json!({ field: { "schema": { "type": "string" } } });
    }
    response
}

fn content() -> Value {
    json!({ PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } })
}
