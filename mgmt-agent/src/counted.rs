use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// What the agent counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Counted {
    /// Events of peers.
    Messages,
    /// Events published.
    Published,
    /// Events that could not be encoded or sent.
    Unsendable,
    /// Controllers that were refused, as the agent obeys another one.
    ControllersRefused,
    /// Requests of controllers that were refused for that.
    RequestsRefused,
    /// Requests of operators over HTTP.
    OperatorRequests,
    /// Directories and archivals left out because the file system does not answer.
    DiskOverflows,
    /// Archivers started.
    Archivers,
    /// Archivers that could not be started or did not end with success.
    ArchiversFailed,
    /// Archivers left out because too many were running.
    ArchiversLeftOut,
}
