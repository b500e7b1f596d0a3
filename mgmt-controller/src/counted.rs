use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// What the controller counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Counted {
    /// Requests of clients.
    Requests,
    /// Those that were refused, as their clients lack the role.
    RequestsForbidden,
    /// Answers to clients.
    Responses,
    /// Requests of operators over HTTP.
    OperatorRequests,
    /// Certificates of the controller's own CA that agents have got.
    CertificatesIssued,
    /// Requests for a certificate that were refused.
    CertificatesRefused,
    /// Requests to agents.
    AgentRequests,
    /// Events of agents.
    AgentMessages,
    /// Events that could not be encoded or sent.
    EncodeFailures,
    /// Writes of the configuration store that are durable.
    StoreWritten,
    /// Writes of the configuration store that failed.
    StoreFailed,
    /// `notify_agent_hello` that were refused: wrong name, topic, endpoint ID, API version or certificate.
    HellosRefused,
    /// Times that an agent has said that it obeys another controller.
    Refusals,
    /// Other events of agents that had no right to send them.
    AgentMessagesRefused,
    /// Answers that came late, twice, or without a question.
    AnswersIgnored,
    /// Welcomes that were sent again.
    WelcomesRepeated,
    /// `notify_change` of agents.
    AgentChanges,
    /// `notify_error` of agents.
    AgentErrors,
    /// `notify_log` of agents.
    AgentLogs,
}
