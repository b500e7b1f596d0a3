use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// What every daemon counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Counted {
    /// Messages of native peers that were not obeyed.
    PeerMessagesRefused,
    /// Lines written to the management log.
    LogWritten,
    /// Lines of the management log dropped because the disk was too slow.
    LogDropped,
    /// Lines, rotations and deletions of the management log that failed.
    LogFailed,
    /// Management logs rotated to where they belong.
    LogRotated,
    /// Times that certificates, tokens, roles, deny list, log level and logs were reloaded.
    Reloads,
    /// Times that nothing was reloaded, as something could not be used.
    ReloadsFailed,
    /// Certificates that the deny list has and a peer has shown, on any port, or had shown when the list came into use.
    CertificatesDenied,
    /// Certificates of its own that the daemon has renewed.
    CertificatesRenewed,
    /// Times that a certificate of its own could not be renewed.
    CertificateRenewalsFailed,
    /// Connections to the HTTP port, or of a group's user to the control socket, that were closed, as too many were open.
    HttpConnectionsRefused,
    /// TLS handshakes on the HTTP port that failed.
    HttpHandshakesFailed,
    /// Requests over HTTP without a token or certificate that is good.
    HttpUnauthenticated,
    /// Requests over HTTP with a wrong token, or for a certificate, after too many wrong tokens of their address; and for a certificate of an instance that has got too many.
    HttpSlowedDown,
    /// Requests over HTTP that a page or a name from elsewhere has brought here.
    HttpForeign,
    /// Lines written to the audit log.
    AuditLines,
    /// Lines of the audit log that could not be written.
    AuditLinesLost,
    /// Lines about requests that have changed nothing that the audit log does not have, as one principal makes very many.
    AuditLinesLeftOut,
    /// Inputs written to the journal.
    JournalWritten,
    /// Journals that ended before the daemon did.
    JournalIncomplete,
}
