//! The settings that only the controller has. Zeek's are from `controller/config.zeek` of Zeek 9.0.

use mgmt_daemon::config::{
    COMMON, Listener, Schema, Setting,
    Takes::{Many, One},
};

use crate::backup::options;

pub static SCHEMA: Schema = Schema {
    daemon: "controller",
    module: "Management::Controller::",
    tables: [OWN, COMMON],
    gone: &[(
        "peer-api",
        "there is one setting for each kind of peer now: --agent-api for agents, --client-api for clients \
         over Broker",
    )],
    own_commands: &[("store", options::command)],
};

static OWN: &[Setting] = &[
    Setting::new("name", "`controller-<hostname>`", "The controller's name")
        .zeek(&["Management::Controller::name"])
        .variable("ZEEK_CONTROLLER_NAME")
        .option(One("NAME")),
    Setting::new(
        "websocket_listen",
        "0.0.0.0:2149",
        "Where to serve zeek-client: address and port in one, or `off`",
    )
    .option(One("ADDRESS:PORT"))
    .sets(|text| Listener::sets(text, "websocket_address", "websocket_port")),
    Setting::new(
        "websocket_address",
        "`default_address`",
        "The address of the WebSocket port",
    )
    .zeek(&["Management::Controller::listen_address_websocket"])
    .variable("ZEEK_CONTROLLER_WEBSOCKET_ADDR"),
    Setting::new(
        "websocket_port",
        "`websocket_default_port`",
        "The WebSocket port; `0/unknown` for none",
    )
    .zeek(&["Management::Controller::listen_port_websocket"])
    .variable("ZEEK_CONTROLLER_WEBSOCKET_PORT"),
    Setting::new(
        "websocket_default_port",
        "2149/tcp",
        "The WebSocket port, if `websocket_port` is not given",
    )
    .zeek(&["Management::Controller::default_port_websocket"]),
    Setting::new(
        "websocket_tls",
        "Cluster::WebSocketTLSOptions()",
        "TLS of the WebSocket port: plaintext or anonymous TLS, as the client likes; with \
         `Cluster::WebSocketTLSOptions($cert_file=\"cert.pem\", $key_file=\"key.pem\")` by certificate",
    )
    .zeek(&["Management::Controller::tls_options_websocket"]),
    Setting::new(
        "websocket_host",
        "",
        "Further names by which web pages and zeek-client may know the WebSocket port, as in `hub.example` \
         or `*.example`, besides addresses, `localhost`, this host's name and the names in the certificate; \
         comma-separated, or several times",
    )
    .variable("MGMT_CONTROLLER_WEBSOCKET_HOST")
    .option(Many("NAME")),
    Setting::new(
        "listen",
        "0.0.0.0:2150",
        "Where to serve agents over Broker: address, interface or host name, and port in one, or `off`",
    )
    .option(One("ADDRESS:PORT"))
    .sets(|text| Listener::sets(text, "listen_address", "listen_port")),
    Setting::new(
        "listen_address",
        "`default_address`",
        "The address of the Broker port, or the name of an interface or a host",
    )
    .zeek(&["Management::Controller::listen_address"])
    .variable("ZEEK_CONTROLLER_ADDR"),
    Setting::new(
        "listen_port",
        "`default_port`",
        "The Broker port; `0/unknown` for none",
    )
    .zeek(&["Management::Controller::listen_port"])
    .variable("ZEEK_CONTROLLER_PORT"),
    Setting::new(
        "default_port",
        "2150/tcp",
        "The Broker port, if `listen_port` is not given",
    )
    .zeek(&["Management::Controller::default_port"]),
    Setting::new(
        "own_ca",
        "F",
        "Whether the controller has a CA of its own, at which agents [enrol](secure.md#enrolment) over HTTP. It is made at the first start, in `ca` in the \
         controller's directory, and gives `ssl_certificate` and its siblings, `http_certificate` and its siblings, and `roles` their defaults",
    )
    .option(One("T|F")),
    Setting::new(
        "certificate_lifetime",
        "365days",
        "How long certificates of the controller's own CA are valid: 1 s to 20 years. They are renewed by themselves when two thirds of that are over",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "request_timeout",
        "10sec",
        "How long a request may take; a deployment may take 1.8 times as long",
    )
    .zeek(&["Management::Request::timeout_interval"]),
    Setting::new(
        "absent_instances",
        "fail",
        "What a deployment does when instances of its configuration are not connected: `fail` changes nothing; `skip` deploys to the others, and to these when they connect",
    )
    .variable("MGMT_CONTROLLER_ABSENT_INSTANCES")
    .option(One("fail|skip")),
    Setting::new(
        "auto_assign_broker_ports",
        "T",
        "Whether to give nodes Broker ports",
    )
    .zeek(&[
        "Management::Controller::auto_assign_broker_ports",
        "Management::Controller::auto_assign_ports",
    ]),
    Setting::new(
        "auto_assign_broker_start_port",
        "2200/tcp",
        "The first of the Broker ports",
    )
    .zeek(&[
        "Management::Controller::auto_assign_broker_start_port",
        "Management::Controller::auto_assign_start_port",
    ]),
    Setting::new(
        "auto_assign_metrics_ports",
        "T",
        "Whether to give nodes metrics ports",
    )
    .zeek(&["Management::Controller::auto_assign_metrics_ports"]),
    Setting::new(
        "auto_assign_metrics_start_port",
        "9000/tcp",
        "The first of the metrics ports",
    )
    .zeek(&["Management::Controller::auto_assign_metrics_start_port"]),
    // Long enough to look into what happened, and a day's logs are small.
    Setting::new(
        "keep_logs",
        "30days",
        "How long the controller's own rotated logs stay in `log-queue` where no archiver fetches them; \
         `0sec` for ever",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "agent_api",
        "7.0",
        "The API to assume of an agent until its messages show it. Needed for agents of Zeek 5.0.0-rc1 (`5.0.0-rc1`) and of its commit 9efc214d42 (`pre-seed`)",
    )
    .variable("MGMT_CONTROLLER_AGENT_API")
    .option(One("ZEEK")),
    Setting::new(
        "client_api",
        "7.0",
        "The API to assume of a client over Broker until its messages show it. Needed for clients of Zeek 4.1 (`4.1`) and of its commit 54aaf3a623 (`seed`). Clients over WebSocket get today's API",
    )
    .variable("MGMT_CONTROLLER_CLIENT_API")
    .option(One("ZEEK")),
    Setting::new(
        "directory",
        "",
        "The controller's directory below `<state>/nodes`; its name if empty",
    )
    .zeek(&["Management::Controller::directory"]),
    Setting::new("store_directory", ".", "The store's directory below `directory`")
        .zeek(&["Broker::table_store_db_directory"]),
    Setting::new("topic", "zeek/management/controller", "The controller's topic")
        .zeek(&["Management::Controller::topic"]),
];
