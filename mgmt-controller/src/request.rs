use mgmt_api::operator::ClusterRequest;

/// What operators ask the core, however they ask.
#[derive(Debug)]
pub(crate) enum Request {
    /// Which clusters there are.
    Clusters,
    /// Something of a cluster.
    Of(String, ClusterRequest),
}

impl Request {
    /// In a few words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Of(_, request) => request.into(),
        }
    }
}
