//! What the audit log says of what is asked of the agent.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{Dialect, OperatorRequest, Principal, operator::text};
use mgmt_daemon::audit::{Audit, Outcome, Pending, What};

use crate::{
    core::check_controller,
    machine::Input,
    wire::{event_in, reqid_in},
};

/// The requests of controllers that are under way.
pub(super) struct Audited {
    controllers: Pending<ZeekString>,
    /// Why the one that has just come is refused, if it is.
    refusal: Option<String>,
}

impl Audited {
    pub(super) const fn new(audit: Audit) -> Self {
        Self {
            controllers: Pending::new(audit),
            refusal: None,
        }
    }

    /// This is handed to the agent next. Returns the id of the request that it is, if it is one of a controller.
    pub(super) fn comes(
        &mut self,
        input: &Input,
        is_for_us: impl Fn(&ZeekString) -> bool,
        principal: impl Fn(EndpointId) -> Option<Principal>,
    ) -> Option<ZeekString> {
        let Input::Message { peer, topic, data } = input else {
            return None;
        };
        let reqid = reqid_in(data).filter(|_| is_for_us(topic))?;
        let (name, _) = event_in(data)?;
        Dialect::ALL.iter().find(|dialect| dialect.has_event(name))?;
        let what = What::of_event(&text(name), reqid);
        let principal = principal(*peer)?;
        let has_roles = principal.grant.is_some();
        let refusal = has_roles.then(|| check_controller(Some(&principal)).err());
        self.refusal = refusal.flatten().map(|refusal| text(&refusal.reason));
        self.controllers.comes(reqid.clone(), None, principal, what);
        Some(reqid.clone())
    }

    /// The agent has dealt with it. That it was refused need not be told each time.
    pub(super) fn is_taken(&mut self, is_under_way: bool, is_told: bool) {
        match self.refusal.take() {
            Some(reason) => self.controllers.is_refused(reason, is_told),
            None => self.controllers.is_taken(is_under_way),
        }
    }

    /// A request is answered. What its controller hears is in the management log.
    pub(super) fn is_answered(&mut self, reqid: &ZeekString, has_failed: bool) {
        if self.refusal.is_some() {
            // Another one may have asked under the same id, and may.
            return;
        }
        let outcome = if has_failed {
            Outcome::Failed("see the answer in the management log".to_owned())
        } else {
            Outcome::Done
        };
        self.controllers.is_answered(reqid, outcome, |_| {});
    }
}

/// What an operator asks.
pub(super) fn describe(request: &OperatorRequest, what: &mut What) {
    let kind: &str = request.into();
    kind.clone_into(&mut what.request);
    match request {
        OperatorRequest::Stop(selection) | OperatorRequest::Start(selection) => {
            what.targets = selection.words();
        }
        OperatorRequest::Outputs(node) | OperatorRequest::History(node) => {
            what.targets = vec![node.node.clone()];
        }
        OperatorRequest::Status | OperatorRequest::Adopt => {}
    }
}
