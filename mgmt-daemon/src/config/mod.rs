//! Settings of a daemon: read once, typed, and with the origin of each value.
//!
//! A [`Setting`] is one row of a table: from it come the command line, what is read of environment, scripts and options, `dump-config`
//! and docs/configuration.md. Sources, from the weakest: defaults, the configuration file, environment variables, the files of `--redefs` in
//! order, assignments on the command line, options on the command line.
//!
//! The rules are those of Zeek 9.0's `policy/frameworks/management/{config,persistence}.zeek`. A daemon describes its
//! own settings by a [`Schema`], and [takes](Resolver::take) each from what a [`Resolver`] has gathered into the variable that it is for.

mod check;
mod common;
mod daemon;
mod effective;
mod environment;
mod error;
mod file;
mod gather;
mod http;
mod installation;
mod listener;
mod open_port;
mod options;
mod redefs;
mod resolver;
mod roles;
mod setting;
mod socket;
mod value;

pub use self::{
    check::{Checks, warn_of_dates},
    common::COMMON,
    daemon::{DaemonConfig, Home, LogConfig, RotationConfig, log_path},
    effective::{Effective, Origin, dump_json, dump_text},
    environment::Environment,
    error::{ConfigError, ConfigErrors},
    http::HttpConfig,
    installation::Installation,
    listener::Listener,
    open_port::warn_of_open_ports,
    resolver::{Resolved, Resolver, join_plain},
    roles::{RoleLine, WITHOUT_CERTIFICATE},
    setting::{OwnCommand, Schema, Setting, Takes},
    socket::{SocketConfig, SocketGroup},
    value::{Choice, Notation, TimeOfDay, Value, ValueError, record},
};
pub use crate::log::LogFormat;
