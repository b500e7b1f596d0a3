//! How long requests take, and how they end.

use std::time::Duration;

use prometheus_client::metrics::{family::Family, histogram::Histogram};

/// The upper ends of the classes that durations are counted in, in seconds: zeek-client waits 20 s.
const CLASSES: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0];

type Labels = [(&'static str, &'static str); 3];

/// What is counted when a request is answered: whose it was, of which kind, and how it ended. Clones count together.
#[derive(Clone, Debug)]
pub struct Durations(Family<Labels, Histogram, fn() -> Histogram>);

impl Default for Durations {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(CLASSES)))
    }
}

impl Durations {
    /// A request was answered. There are few kinds: none of these words is a sender's.
    pub fn observe(&self, from: &'static str, kind: &'static str, succeeded: bool, took: Duration) {
        let outcome = if succeeded { "success" } else { "failure" };
        let labels = [("from", from), ("kind", kind), ("outcome", outcome)];
        self.0.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(super) fn family(&self) -> Family<Labels, Histogram, fn() -> Histogram> {
        self.0.clone()
    }
}
