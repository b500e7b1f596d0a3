use std::net::SocketAddr;

use broker_codec::websocket::Rejection;

use super::{counters::Counters, ending::truncated, event::ClientId, outbound::Outbound};
use crate::credit::Hold;

/// How many refused messages of one connection are logged each; the rest is summed up at its end.
const REJECTIONS_LOGGED_MAX: u64 = 10;

/// How much of an explanation is logged, in bytes; it may quote what the client sent.
const CONTEXT_LOGGED_MAX: usize = 500;

/// How much of an explanation is sent, in bytes; each takes at most six in JSON.
const CONTEXT_SENT_MAX: usize = 512;

/// Answers, counts and logs refused messages; logs only the first ones one by one.
pub(super) struct Rejections<'a> {
    pub(super) client: ClientId,
    pub(super) peer: SocketAddr,
    pub(super) counters: &'a Counters,
    pub(super) outbound: &'a Outbound,
    pub(super) count: u64,
}

impl Rejections<'_> {
    pub(super) fn add(&mut self, rejection: &Rejection) {
        self.count += 1;
        self.counters.error(rejection.code);
        if self.count <= REJECTIONS_LOGGED_MAX {
            let context = truncated(&rejection.context, CONTEXT_LOGGED_MAX);
            tracing::warn!(client = self.client.number(), peer = %self.peer, code = rejection.code, context, "message refused");
        }
        // It may quote what the client sent.
        let answer = Rejection {
            context: truncated(&rejection.context, CONTEXT_SENT_MAX).to_owned(),
            ..rejection.clone()
        };
        self.outbound.push(answer.to_json().into(), Hold::default());
    }
}

impl Drop for Rejections<'_> {
    fn drop(&mut self) {
        if self.count > REJECTIONS_LOGGED_MAX {
            tracing::warn!(client = self.client.number(), peer = %self.peer, count = self.count, "messages refused in total");
        }
    }
}
