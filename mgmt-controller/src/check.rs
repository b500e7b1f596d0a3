//! What `check-config` tries: whether the host has what the controller's settings name.

use broker_endpoint::{websocket::WebSocketTls, with_causes};
use mgmt_daemon::{
    config::{Checks, Environment, Listener},
    files,
    lock::Lock,
};

use crate::{
    authority,
    config::Config,
    store::{self, Store},
};

/// Tries the store, ports, certificates, the CA.
pub fn check(config: &Config, _: &Environment, checks: &mut Checks<'_>) {
    let of_store = &["store_directory", "directory", "state_dir"];
    if config.store_dir != config.daemon.working_dir {
        checks.directory(of_store, &config.store_dir);
    }
    let lock = config.store_dir.join(store::FILE_NAME);
    checks.kept_file(of_store, &Lock::path(&lock));
    if let Err(error) = Store::check(&config.store_dir) {
        checks.note(of_store, Err(with_causes(&error)));
    }
    checks.listener(&["listen_port", "listen_address"], &config.broker, &lock);
    let websocket = config.websocket.map(|address| Listener::At(address.into()));
    let websocket = websocket.unwrap_or(Listener::Off);
    checks.listener(&["websocket_port", "websocket_address"], &websocket, &lock);
    checks.http_listener(&config.daemon.http, &lock);
    if let Some(own) = &config.own_ca {
        let keys = &["own_ca", "directory", "state_dir"];
        checks.directory(keys, &own.dir);
        if let Err(error) = authority::look(&own.dir) {
            checks.note(keys, Err(with_causes(&error)));
        }
        checks
            .warnings
            .extend(files::secret_too_open(&own.dir.join(authority::CA_KEY_FILE)));
    }
    if let WebSocketTls::Offered(tls) | WebSocketTls::Required(tls) = &config.websocket_tls {
        checks.tls("WebSocket", |_| "websocket_tls", tls);
    }
}
