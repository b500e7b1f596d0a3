//! The settings of every daemon of the framework. Zeek's are from `management/{config,persistence}.zeek` of Zeek 9.0.

use super::setting::{
    Setting,
    Takes::{Many, One},
};

pub static COMMON: &[Setting] = &[
    Setting::new(
        "zeek_prefix",
        "`zeek-config --prefix`, else where `zeek` on PATH is, else `/usr/local/zeek`",
        "Where Zeek is installed",
    )
    .option(One("DIR")),
    Setting::new(
        "state_dir",
        "`<prefix>/var/lib`",
        "Where Zeek's processes keep state; the daemon's own is in `nodes/<name>` below",
    )
    .zeek(&["Management::state_dir"])
    .variable("ZEEK_MANAGEMENT_STATE_DIR")
    .option(One("DIR")),
    Setting::new(
        "spool_dir",
        "`<prefix>/spool`",
        "Where rotated logs go, into `log-queue` below",
    )
    .zeek(&["Management::spool_dir"])
    .variable("ZEEK_MANAGEMENT_SPOOL_DIR")
    .option(One("DIR")),
    // Stands after the directories, which it overrides.
    Setting::new(
        "testing",
        "",
        "With any value a test set-up: state and spool in the current directory, no rotation",
    )
    .variable("ZEEK_MANAGEMENT_TESTING")
    .sets(|_| {
        let values = [
            ("spool_dir", "."),
            ("state_dir", "."),
            ("log_rotation_interval", "0secs"),
        ];
        Ok(values.map(|(key, value)| (key, value.to_owned())).to_vec())
    }),
    Setting::new(
        "default_address",
        "0.0.0.0",
        "The address to listen on where no other is given",
    )
    .zeek(&["Management::default_address"]),
    Setting::new(
        "connect_retry",
        "1sec",
        "Time between attempts to connect over Broker, and up to a quarter more by chance; `0sec` for one attempt only",
    )
    .zeek(&["Management::connect_retry"]),
    Setting::new("disable_ssl", "F", "Broker connections without TLS").zeek(&["Broker::disable_ssl"]),
    Setting::new(
        "ssl_certificate",
        "",
        "The certificate for Broker connections, with key and CA; TLS is anonymous without",
    )
    .zeek(&["Broker::ssl_certificate"]),
    Setting::new("ssl_keyfile", "", "The private key of `ssl_certificate`").zeek(&["Broker::ssl_keyfile"]),
    Setting::new("ssl_passphrase", "", "The passphrase of `ssl_keyfile`")
        .zeek(&["Broker::ssl_passphrase"])
        .secret(),
    Setting::new("ssl_cafile", "", "The CA of the peers' certificates").zeek(&["Broker::ssl_cafile"]),
    Setting::new("ssl_capath", "", "A directory of CAs of the peers' certificates")
        .zeek(&["Broker::ssl_capath"]),
    Setting::new("management_log_level", "INFO", "Detail of the management log")
        .zeek(&["Management::Log::level"]),
    Setting::new(
        "log_field_bytes_max",
        "4096",
        "Longest field in the management log, in bytes",
    )
    .zeek(&["Log::default_max_field_string_bytes"]),
    Setting::new(
        "log_rotation_interval",
        "1hr",
        "Time between rotations of the management log; `0sec` for none",
    )
    .zeek(&["Log::default_rotation_interval"]),
    Setting::new(
        "log_rotation_base_time",
        "0:00",
        "The time of day that rotations count from",
    )
    .zeek(&["log_rotate_base_time"]),
    Setting::new(
        "log_rotation_dir",
        "`<spool>/log-queue`",
        "Where rotated management logs go",
    )
    .zeek(&["Log::default_rotation_dir"]),
    Setting::new(
        "process_name",
        "",
        "The name that ps, pgrep and netstat show instead of the program's, such as `zeek.<name>`; ps and \
         pgrep show 15 bytes of it",
    )
    .option(One("NAME")),
    Setting::new(
        "log_level",
        "info",
        "What to log on standard error: a level, or levels of parts of the program, as in `info,broker_endpoint=debug`",
    )
    .variable("RUST_LOG")
    .option(One("LEVEL")),
    Setting::new(
        "log_format",
        "text",
        "How to log on standard error: `text`, or `json` for an object a line",
    )
    .option(One("FORMAT")),
    Setting::new(
        "ready_file",
        "",
        "A JSON file with the process id and the addresses, which appears, whole, once the daemon listens",
    )
    .option(One("FILE")),
    Setting::new(
        "control_socket",
        "`<state>/nodes/<name>/control.sock`",
        "The Unix socket by which `mgmtctl` asks the daemon; the daemon's user and root may use it. Elsewhere than in the daemon's directory it may have 107 bytes",
    )
    .option(One("FILE")),
    Setting::new(
        "control_socket_group",
        "",
        "A group of the host whose users may use the control socket, too, and what they may do there: `GROUP ROLE`, as in `operators read` \
         ([secure](secure.md#the-control-socket))",
    )
    .option(One("GROUP ROLE")),
    Setting::new(
        "http_listen",
        "off",
        "Where to serve `mgmtctl`, Prometheus and other programs by HTTP: an IP address and a port in one, as in `0.0.0.0:2148`, or `off`. Other addresses than loopback ones need TLS",
    )
    .option(One("ADDRESS:PORT")),
    Setting::new(
        "http_certificate",
        "",
        "The certificate for HTTP, with those between it and its CA",
    )
    .option(One("FILE")),
    Setting::new("http_key", "", "The private key of `http_certificate`").option(One("FILE")),
    Setting::new(
        "http_client_ca",
        "",
        "The CA of certificates by which clients may say over HTTP who they are; what they may is in `roles`",
    )
    .option(One("FILE")),
    Setting::new(
        "roles",
        "",
        "What one may, on every port, by a common name or an alternative name in its certificate, in which `*` stands for any text: `PATTERN ROLE`, \
         `PATTERN ROLE CLUSTER` or `PATTERN agent INSTANCE`, as in `*.noc.example.org read`; several times. Roles are `read`, `deploy`, `admin` and `agent`. Without, \
         each program that can connect to the WebSocket and Broker ports may request everything ([secure](secure.md#roles))",
    )
    .option(Many("ROLE")),
    Setting::new(
        "deny_list",
        "",
        "A file of certificates that count no more, on any port: a SHA-256 fingerprint or a name a line ([secure](secure.md#revoked-certificates))",
    )
    .option(One("FILE")),
    Setting::new(
        "http_host",
        "",
        "Further names by which the daemon may be asked over HTTP, as in `hub.example` or `*.example`, besides addresses, `localhost`, this host's \
         name and the names in the certificate; comma-separated, or several times",
    )
    .option(Many("NAME")),
    Setting::new(
        "tokens",
        "`<state>/nodes/<name>/tokens.json`",
        "The file of the tokens by which programs say over HTTP who they are; `mgmtctl token` changes it",
    )
    .option(One("FILE")),
    Setting::new(
        "audit_log",
        "`<state>/nodes/<name>/audit.log`",
        "The file that has a line of JSON for each request of an operator or a client, or `off` ([secure](secure.md#audit-log))",
    )
    .option(One("FILE")),
    Setting::new(
        "journal",
        "",
        "Where to record everything that happens, for `replay`; configurations included, so keep it to \
         yourself. It grows until the end; if the disk is full or too slow it ends there, and the daemon \
         goes on",
    )
    .option(One("FILE")),
];
