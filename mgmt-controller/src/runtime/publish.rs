//! What the core publishes, to native peers and WebSocket clients.

use broker_codec::{Recipients, data::ZeekString, json::DataMessage};
use broker_endpoint::{Credit, with_causes};
use mgmt_daemon::daemon::Cause;
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
        daemon: &mut Daemon,
        topic: ZeekString,
        outgoing: &Outgoing,
        to: Audience,
        cause: &Cause,
    ) {
        let (reqid, name) = (outgoing.reqid().map(display), outgoing.event_name());
        // What is published keeps the credit of the request that it answers, else that of what it follows from.
        let mut credit = cause.credit.clone();
        match outgoing {
            Outgoing::Client(response) => {
                self.counters.increment(Counted::Responses);
                // What is for its asker alone is not the answer that others wait for under the same id.
                let kept = if to == Audience::Subscribers {
                    daemon.answered(&(response.kind(), response.reqid().clone()))
                } else {
                    None
                };
                let is_told = !daemon.is_quiet();
                self.audited.is_answered(daemon.machine(), response, to, is_told);
                let took = kept.as_ref().map_or(cause.since, |kept| kept.since).elapsed();
                let succeeded = response.results().iter().all(|result| result.success);
                daemon
                    .durations
                    .observe("client", response.kind().into(), succeeded, took);
                credit = kept.map_or(credit, |kept| kept.credit);
                if !daemon.is_quiet() {
                    log_answer(response, daemon.machine().deployed_configuration());
                }
            }
            Outgoing::News(_) if daemon.is_quiet() => {}
            Outgoing::News(news) => report_lines(self.node_news.take(news, Instant::now().into_std())),
            Outgoing::Agent(_) | Outgoing::Link(_) | Outgoing::Shared(_) => {
                self.counters.increment(Counted::AgentRequests);
                tracing::debug!(reqid, event = name, %topic, "request to an agent");
            }
        }
        let is_heard = self
            .publisher
            .as_ref()
            .is_some_and(|clients| clients.is_heard(&topic));
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
            answer,
            failures,
        } = self.wire.deliver(&publication, is_heard);
        for (receiver, error) in failures {
            self.counters.increment(Counted::EncodeFailures);
            tracing::error!(reqid, event = name, receiver, %error, "cannot translate an event");
        }
        for event in native {
            self.send(event, &credit).await;
        }
        for (among, message) in websocket {
            self.publish_to_clients(among, message, &credit).await;
        }
        if let Some((client, message)) = answer {
            self.answer_client(client, message, &credit).await;
        }
    }

    /// Answers a WebSocket client, which need not be one that may hear what is published.
    pub(super) async fn answer_client(&self, client: u64, message: DataMessage, credit: &Credit) {
        if let Some(publisher) = &self.publisher {
            publisher.with_credit(credit).answer(client, message).await;
        }
    }

    pub(super) async fn send(&mut self, event: ToNative, credit: &Credit) {
        let topic = event.topic.clone();
        if let Err(error) = self.broker.publish(event, credit).await {
            self.counters.increment(Counted::EncodeFailures);
            tracing::error!(
                %topic,
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
