//! Metrics, as Prometheus reads them.
//!
//! What is counted is counted where it happens, in a [`Registry`]; all else is made of what the core and the runtime know at the moment when they are
//! asked. Names are those of the variants of enums, and so are their texts: docs/monitoring.md is made of them.
//!
//! Every label's value is a word of ours, or a name from a deployed configuration or the settings.

mod durations;
mod measured;

use std::{collections::BTreeMap, fs, sync::atomic::AtomicU64, time::Duration};

use broker_endpoint::tls::Expiry;
use counters::{Kind, Registry};
use mgmt_api::operator::NodeVitals;
use prometheus_client::{
    encoding::{prometheus_text, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry,
};

pub use self::{durations::Durations, measured::Measured};

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// Prometheus' own, version 0.0.4.
    Prometheus,
}

impl Format {
    /// The best that a reader takes who says this in its header `Accept`.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The metrics of a daemon at one moment.
#[derive(Debug)]
pub struct Metrics(registry::Registry);

impl Metrics {
    /// With this before each name, and an underscore.
    pub fn new(prefix: &str) -> Self {
        Self(registry::Registry::with_prefix(prefix))
    }

    /// Shows everything that is counted.
    pub fn counters(&mut self, counters: &Registry) {
        for (name, about, number) in counters.iter() {
            let counter: Counter = Counter::default();
            counter.inc_by(number);
            self.0.register(name, about.trim_end_matches('.'), counter);
        }
    }

    /// Shows what is measured; nothing, if there are no samples.
    pub fn show<K: Kind>(&mut self, measured: K, samples: impl IntoIterator<Item = (Labels, f64)>) {
        let (name, about) = described(measured);
        if let Some(name) = name.strip_suffix("_total") {
            let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
            for (labels, value) in samples {
                family.get_or_create(&labels).inc_by(value);
            }
            self.0.register(name, about, family);
        } else {
            let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
            for (labels, value) in samples {
                family.get_or_create(&labels).set(value);
            }
            self.0.register(name, about, family);
        }
    }

    /// Shows one value that has no labels.
    pub fn value<K: Kind>(&mut self, measured: K, value: impl Into<Option<f64>>) {
        let value: Option<f64> = value.into();
        self.show(measured, value.map(|value| (Labels::new(), value)));
    }

    /// Shows how long requests took.
    pub fn durations(&mut self, durations: &Durations) {
        let (name, about) = described(Measured::RequestDurationSeconds);
        self.0.register(name, about, durations.family());
    }

    /// Shows what process this is, and since when.
    pub fn process(&mut self, started: Duration) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.show(Measured::BuildInfo, [(version, 1.0)]);
        self.value(Measured::ProcessStartTimeSeconds, started.as_secs_f64());
        self.value(Measured::ProcessResidentMemoryBytes, resident_bytes());
    }

    /// Shows when certificates end.
    pub fn certificates<'a>(&mut self, expiries: impl IntoIterator<Item = &'a Expiry>) {
        let samples = expiries.into_iter().map(|expiry| {
            let labels = vec![("path", expiry.path.display().to_string())];
            (labels, number(u64::try_from(expiry.at).unwrap_or_default()))
        });
        self.show(Measured::CertificateExpiryTimeSeconds, samples);
    }

    /// Shows how many peers of each kind there are.
    pub fn peers<'a>(&mut self, kinds: impl IntoIterator<Item = (&'a str, usize)>) {
        let samples = kinds
            .into_iter()
            .map(|(kind, count)| (vec![("kind", kind.to_owned())], number(count as u64)));
        self.show(Measured::Peers, samples);
    }

    /// Shows nodes.
    pub fn nodes(&mut self, nodes: &[NodeVitals]) {
        let mut states: BTreeMap<Labels, u64> = BTreeMap::new();
        for node in nodes {
            let mut labels = of_instance(node);
            labels.push(("state", node.state.to_string()));
            *states.entry(labels).or_default() += 1;
        }
        let states = states.into_iter().map(|(labels, count)| (labels, number(count)));
        self.show(Measured::Nodes, states);
        let of_each = |value: fn(&NodeVitals) -> Option<u64>| {
            nodes
                .iter()
                .filter_map(move |node| Some((of_node(node), number(value(node)?))))
        };
        self.show(
            Measured::NodeRunning,
            of_each(|node| node.is_running.map(u64::from)),
        );
        self.show(Measured::NodeStartsTotal, of_each(|node| Some(node.starts)));
        self.show(Measured::NodeCrashesTotal, of_each(|node| Some(node.crashes)));
    }

    /// All of it as text.
    pub fn write(&self, format: Format) -> String {
        let mut text = String::new();
        // A `String` takes everything.
        let _ = match format {
            Format::OpenMetrics => text::encode(&mut text, &self.0),
            Format::Prometheus => prometheus_text::encode(&mut text, &self.0),
        };
        text
    }
}

/// The name of what is measured, and its text, which gets a full stop where it is shown.
fn described<K: Kind>(measured: K) -> (&'static str, &'static str) {
    let about = measured.get_documentation().unwrap_or_default();
    (measured.into(), about.trim_end_matches('.'))
}

/// The labels of a node's instance: Prometheus has a label `instance` of its own.
fn of_instance(node: &NodeVitals) -> Labels {
    let cluster = Some(("cluster", node.cluster.clone())).filter(|(_, name)| !name.is_empty());
    let instance = ("zeek_instance", node.instance.clone());
    cluster.into_iter().chain([instance]).collect()
}

/// The labels of a node.
pub fn of_node(node: &NodeVitals) -> Labels {
    let mut labels = of_instance(node);
    labels.push(("node", node.node.clone()));
    labels
}

/// A number as samples have it: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "as Prometheus has it")]
pub const fn number(number: u64) -> f64 {
    number as f64
}

/// Memory of this process that is in RAM, if the kernel says so.
fn resident_bytes() -> Option<f64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(number(resident * rustix::param::page_size() as u64))
}
