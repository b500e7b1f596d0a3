//! The status page: what operators ask about each cluster, as one document for a browser.
//!
//! It is made when it is asked for, by the requests that programs make too, and nothing of it is kept. [`view`] writes it, on a thread for blocking work: others wait for the runtime's; its script fetches it again when
//! [`events`](crate::events) tell of something, and puts what has changed in the place of what was there.
//!
//! | limit | then |
//! |---|---|
//! | [`CLUSTERS_AT_A_TIME`] clusters are asked at a time | the next one waits |
//! | [`STATUS_WAIT`] for the agents of a cluster, unless it is shown alone | it is shown by its numbers |
//! | [`OUTPUTS_MAX`] nodes of a cluster show what they wrote | the others do not |

mod view;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream};
use mgmt_api::{
    Principal, State, WallClock,
    access::Role,
    operator::{
        ClusterRequest, ClusterStatus, ClusterSummary, Clusters, ConfigurationFile, Deployment,
        DeploymentState, Deployments, Event, NodeName, Outputs, Station, Verdict, diff,
    },
};
use mgmt_daemon::{
    http::{
        Door, Operator, Problem, Routes,
        axum::{
            Extension,
            extract::{Query, rejection::QueryRejection},
            http::{HeaderName, StatusCode, header},
            response::{Html, IntoResponse},
        },
        query, read, utoipa,
    },
    process::{random_bytes, unix_time},
};
use serde::Deserialize;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    events::Feed,
    http::{CLUSTERS_AT_A_TIME, asked},
    request::Request,
};

/// How long a cluster's agents may take to answer, where other clusters are shown too.
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// How many nodes of a cluster that do not run show what they wrote.
const OUTPUTS_MAX: usize = 8;

/// How long their agents may take to tell.
const OUTPUTS_WAIT: Duration = Duration::from_secs(1);

/// How many of the latest events are shown.
const EVENTS_SHOWN: usize = 30;

/// What the page is made of, besides what operators ask.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    controller: Arc<str>,
    /// What is to be said of ports that ask for nothing.
    open_ports: Arc<[String]>,
    feed: Feed,
}

/// What a reader wants to see.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// This cluster alone.
    cluster: Option<String>,
}

/// What a page shows.
#[derive(Debug)]
struct Shown {
    controller: Arc<str>,
    reader: String,
    /// The time, as RFC 3339 has it.
    time: String,
    open_ports: Arc<[String]>,
    /// Whether one cluster was asked for.
    is_one: bool,
    clusters: Vec<Cluster>,
    /// The last one first.
    events: Vec<Arc<Event>>,
}

/// What is known of a cluster.
#[derive(Debug)]
struct Cluster {
    summary: ClusterSummary,
    /// With what it says; or why it is not known.
    status: Result<(ClusterStatus, Verdict), String>,
    /// The deployed configuration, which knows ports.
    deployed: ConfigurationFile,
    /// The staged configuration, if it is another one.
    staged: Option<ConfigurationFile>,
    deployments: Deployments,
    running: Option<Deployment>,
    outputs: Vec<Written>,
}

/// What a node that does not run wrote last.
#[derive(Debug)]
struct Written {
    node: String,
    instance: String,
    state: State,
    outputs: Outputs,
}

type Asks = Operator<Request>;

/// The status page
///
/// It shows clusters that one may read.
#[utoipa::path(
    get,
    path = "/",
    params(Wanted),
    responses(
        (status = 200, description = "For a browser", body = String, content_type = "text/html"),
        (status = 404), (status = 500)),
)]
async fn page(
    asks: Asks,
    Extension(page): Extension<Page>,
    Extension(reader): Extension<Principal>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let wanted = query(wanted)?;
    page.answer(&asks.for_several(), &reader, wanted.cluster).await
}

impl Page {
    pub(crate) fn new(controller: &str, open_ports: Vec<String>, feed: Feed) -> Self {
        Self {
            controller: controller.into(),
            open_ports: open_ports.into(),
            feed,
        }
    }

    pub(crate) fn routes(self) -> Routes<Door<Request>> {
        mgmt_daemon::routes!(page).map(|router| router.layer(Extension(self)))
    }

    async fn answer(
        &self,
        asks: &Asks,
        reader: &Principal,
        cluster: Option<String>,
    ) -> Result<impl IntoResponse + use<>, Problem> {
        let failed = |error: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
        let nonce: [u8; 16] = random_bytes().map_err(|error| failed(error.to_string()))?;
        let nonce = format!("{:032x}", u128::from_be_bytes(nonce));
        let fields = fields(&nonce);
        let shown = self.shown(asks, reader, cluster).await?;
        let page = spawn_blocking(move || view::document(&shown, &nonce).into_string()).await;
        Ok((fields, Html(page.map_err(|error| failed(error.to_string()))?)))
    }

    async fn shown(&self, asks: &Asks, reader: &Principal, wanted: Option<String>) -> Result<Shown, Problem> {
        if let Some(name) = &wanted {
            reader.check(Role::Read, Some(name))?;
        }
        let all: Clusters = read(&asks.asks(Request::Clusters).await?.0)?;
        let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        let summaries = all
            .clusters
            .into_iter()
            .filter(|summary| is_wanted(&summary.cluster));
        let summaries: Vec<_> = summaries.collect();
        if summaries.is_empty() && wanted.is_some() {
            return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such cluster"));
        }
        let wait = (summaries.len() > 1).then_some(STATUS_WAIT);
        let clusters = summaries
            .into_iter()
            .map(|summary| Cluster::ask(asks, summary, wait));
        let clusters = stream::iter(clusters)
            .buffered(CLUSTERS_AT_A_TIME)
            .collect()
            .await;
        Ok(Shown {
            controller: Arc::clone(&self.controller),
            reader: reader.to_string(),
            time: WallClock::from_unix(unix_time()).to_rfc3339(),
            open_ports: if reader.has(Role::Read, None) {
                Arc::clone(&self.open_ports)
            } else {
                Arc::default()
            },
            is_one: wanted.is_some(),
            clusters,
            events: self
                .feed
                .last(reader, EVENTS_SHOWN, |event| is_wanted(&event.cluster)),
        })
    }
}

impl Cluster {
    /// Asks for all that is shown of a cluster, and for so long at most how its nodes are.
    async fn ask(asks: &Asks, summary: ClusterSummary, wait: Option<Duration>) -> Self {
        let name = summary.cluster.clone();
        let status = status(asks, &name, wait).await;
        let configuration = async |station| {
            asked(asks, &name, ClusterRequest::Configuration(station))
                .await
                .ok()
        };
        // There may be none.
        let deployed: ConfigurationFile = configuration(Station::Deployed).await.unwrap_or_default();
        let staged: Option<ConfigurationFile> = configuration(Station::Staged).await;
        let staged = staged.filter(|staged| staged.id != deployed.id);
        let deployments: Deployments = asked(asks, &name, ClusterRequest::Deployments)
            .await
            .unwrap_or_default();
        let running = deployments.deployments.first();
        let running = running.filter(|summary| summary.state == DeploymentState::Running);
        let running = match running {
            Some(summary) => asked(asks, &name, ClusterRequest::Deployment(summary.id.clone()))
                .await
                .ok(),
            None => None,
        };
        let outputs = match &status {
            Ok(status) => outputs(asks, status).await,
            Err(_) => Vec::new(),
        };
        Self {
            summary,
            status: status.map(|status| {
                let verdict = Verdict::of_cluster(&status);
                (status, verdict)
            }),
            staged,
            deployed,
            deployments,
            running,
            outputs,
        }
    }

    /// In what the staged configuration differs from the deployed one, a line each.
    fn differences(&self) -> Option<String> {
        let staged = self.staged.as_ref()?;
        Some(diff::in_words(&diff::between(&self.deployed, staged), staged))
    }

    /// Whether nothing is wrong with it, as far as that is known.
    fn is_well(&self) -> bool {
        self.status.as_ref().is_ok_and(|(_, verdict)| verdict.is_well())
    }
}

async fn status(asks: &Asks, cluster: &str, wait: Option<Duration>) -> Result<ClusterStatus, String> {
    let asking = asked(asks, cluster, ClusterRequest::Status);
    let answer = match wait {
        None => asking.await,
        Some(wait) => timeout(wait, asking).await.map_err(|_| {
            format!(
                "not all of its agents have answered within {} s: show it alone to wait for them",
                wait.as_secs()
            )
        })?,
    };
    answer.map_err(|problem| problem.detail().to_owned())
}

/// What nodes wrote that do not run and should.
async fn outputs(asks: &Asks, status: &ClusterStatus) -> Vec<Written> {
    let instances = status.instances.iter().filter(|report| report.is_deployed);
    let nodes = instances.flat_map(|report| report.nodes.iter().map(move |node| (report, node)));
    let failed = nodes.filter(|(_, node)| matches!(node.state, State::Crashed | State::Failed));
    let written = failed.take(OUTPUTS_MAX).map(async |(report, node)| {
        let name = NodeName {
            node: node.node.clone(),
        };
        let asking = asked(asks, &status.cluster, ClusterRequest::Outputs(name));
        Some(Written {
            node: node.node.clone(),
            instance: report.instance.clone(),
            state: node.state,
            outputs: timeout(OUTPUTS_WAIT, asking).await.ok()?.ok()?,
        })
    });
    join_all(written).await.into_iter().flatten().collect()
}

/// What a browser may do with the page: nothing is loaded from elsewhere, and nothing runs but what the page has.
fn fields(nonce: &str) -> [(HeaderName, String); 4] {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ]
}
