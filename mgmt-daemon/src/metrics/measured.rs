use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// What every daemon measures besides what it counts. A name that ends in `_total` is a counter's, the others are gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Measured {
    /// 1, with the release as `version`.
    BuildInfo,
    /// When the process was started, in seconds since 1970.
    ProcessStartTimeSeconds,
    /// Memory of the process that is in RAM.
    ProcessResidentMemoryBytes,
    /// 1 if nothing keeps the daemon from being ready, else 0.
    Ready,
    /// When the certificates in a file (`path`) end, as it was when the daemon loaded it, in seconds since 1970.
    CertificateExpiryTimeSeconds,
    /// How long answered requests took, in seconds, by whose they were (`from`), `kind` and `outcome`: a histogram.
    RequestDurationSeconds,
    /// Connected peers, by `kind`.
    Peers,
    /// Nodes of the deployed configuration, by `zeek_instance` and `state`.
    Nodes,
    /// 1 if a node runs, 0 if it does not and should; not of those that an operator has stopped, nor where that is not known.
    NodeRunning,
    /// Times that a node was started, also again.
    NodeStartsTotal,
    /// Times that a node ended by itself, or could not be started.
    NodeCrashesTotal,
}
