//! What the core publishes, to native peers and WebSocket clients.

use broker_codec::{data::ZeekString, json::DataMessage};
use broker_endpoint::{Credit, Recipients};
use mgmt_daemon::{daemon::Cause, process::with_causes};
use tokio::time::Instant;
use tracing::field::display;

use super::{Daemon, Runtime, log::log_answer, outside::report_lines};
use crate::{
    Counted,
    core::{Audience, Outgoing},
    wire::{Deliveries, Publication, ToNative},
};

impl Runtime {
    pub(super) async fn publish(
        &mut self,
        daemon: &Daemon,
        topic: ZeekString,
        outgoing: &Outgoing,
        to: Audience,
        credit: &Credit,
    ) {
        let (reqid, name) = (outgoing.reqid().map(display), outgoing.event_name());
        match outgoing {
            Outgoing::Client(response) => {
                self.counters.increment(Counted::Responses);
                if !daemon.is_quiet() {
                    log_answer(response, daemon.machine().deployed_configuration());
                }
            }
            Outgoing::News(_) if daemon.is_quiet() => {}
            Outgoing::News(news) => report_lines(self.node_news.take(news, Instant::now().into_std())),
            Outgoing::Agent(_) => {
                self.counters.increment(Counted::AgentRequests);
                tracing::debug!(reqid, event = name, %topic, "request to an agent");
            }
        }
        let publication = match Publication::new(topic, outgoing, to) {
            Ok(publication) => publication,
            Err(error) => {
                self.counters.increment(Counted::EncodeFailures);
                tracing::error!(reqid, event = name, %error, "cannot encode an event, no client and no agent gets it");
                return;
            }
        };
        let Deliveries {
            native,
            websocket,
            failures,
        } = self.wire.deliver(&publication);
        for (receiver, error) in failures {
            self.counters.increment(Counted::EncodeFailures);
            tracing::error!(reqid, event = name, receiver, %error, "cannot translate an event");
        }
        for event in native {
            self.send(&event, credit).await;
        }
        for (among, message) in websocket {
            self.publish_to_clients(among, message, credit).await;
        }
    }

    pub(super) async fn send(&mut self, event: &ToNative, credit: &Credit) {
        if let Err(error) = self.broker.publish(event, credit).await {
            self.counters.increment(Counted::EncodeFailures);
            tracing::error!(
                topic = %event.topic,
                error = with_causes(&error),
                "cannot send an event to native peers"
            );
        }
    }

    pub(super) async fn publish_to_clients(
        &self,
        among: Recipients<u64>,
        message: DataMessage,
        credit: &Credit,
    ) {
        if let Some(publisher) = &self.publisher {
            publisher.with_credit(credit).publish(among, message).await;
        }
    }
}

/// Whose credit what is published keeps: that of the request that it answers, else that of what it follows from.
pub(super) fn credit_of(daemon: &mut Daemon, outgoing: &Outgoing, cause: &Cause) -> Credit {
    let answered = match outgoing {
        Outgoing::Client(response) => daemon.answered(&(response.kind(), response.reqid().clone())),
        Outgoing::Agent(_) | Outgoing::News(_) => None,
    };
    answered.unwrap_or_else(|| cause.credit.clone())
}
