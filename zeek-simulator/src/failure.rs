use std::{error::Error, ffi::OsString, io, path::PathBuf};

use broker_codec::{
    TopicTooLong,
    data::{DataError, ZeekString},
};
use broker_endpoint::{EndpointError, PublishError, tls::TlsConfigError};

/// A stand-in cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("error: argument {0:?} is not text")]
    NotText(OsString),
    #[error("error: a stand-in for Zeek has no option {0}; it knows --version, -j, -a, -i, -r and -U")]
    UnknownOption(String),
    #[error(
        "error: a stand-in for Zeek analyses nothing; start it with -j, or with CLUSTER_NODE in its environment"
    )]
    NoJob,
    #[error("error: option {0} needs a value")]
    NoValue(String),
    #[error("Using -r is not allowed when reading a live interface.")]
    TwoSources,
    #[error("fatal error: can't find {0}")]
    NoScript(String),
    #[error("error in {file}, line {line}: syntax error, at or near \"}}\"")]
    Syntax { file: String, line: usize },
    #[error("fatal error in <params>, line 1: can't find cluster-layout")]
    NoLayout,
    #[error("fatal error in {0}: what a stand-in for Zeek does not understand")]
    Layout(PathBuf),
    #[error("fatal error: errors occurred while initializing")]
    InitErrors,
    #[error(
        "fatal error: Failed to setup Prometheus endpoint: null context when constructing CivetServer. Possible problem binding to port. \
         Failed to setup server ports."
    )]
    MetricsPort,
    #[error("fatal error: {0}")]
    ZeroMq(&'static str),
    #[error("fatal error: problem with trace file {0} (unable to open {0}: No such file or directory)")]
    Trace(String),
    #[error("error: {0}: expected a number of seconds")]
    Seconds(&'static str),
    #[error("error: {name}: expected {expected}, found {found:?}")]
    Setting {
        name: String,
        expected: &'static str,
        found: String,
    },
    #[error("error: {0}")]
    Tls(#[from] TlsConfigError),
    #[error("environment variable {variable}: {source}")]
    Behaviour {
        variable: &'static str,
        source: serde_json::Error,
    },
    #[error("fatal error: {0}")]
    Fatal(#[source] Box<Self>),
    #[error("no Zeek {0} is known")]
    UnknownRelease(String),
    #[error("the Supervisor's instructions: {0}")]
    Instructions(#[source] Box<dyn Error + Send + Sync>),
    #[error("node '{node}' failed to set working directory to {directory}: {source}")]
    Directory {
        node: ZeekString,
        directory: ZeekString,
        source: io::Error,
    },
    #[error(
        "fatal error in <params>, line 1: problem with interface {0} (pcap_error: No such device exists (pcap_activate))"
    )]
    Interface(ZeekString),
    #[error("cannot look for interface {0}: /sys/class/net is not there; mount sysfs at /sys")]
    NoSysfs(ZeekString),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Errno(#[from] rustix::io::Errno),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("Broker endpoint has ended")]
    EndpointEnded,
    #[error(transparent)]
    Topic(#[from] TopicTooLong),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Failure {
    pub(crate) fn fatal(self) -> Self {
        Self::Fatal(Box::new(self))
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    pub(crate) fn instructions(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Instructions(error.into())
    }
}
