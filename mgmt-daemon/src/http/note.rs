//! What the audit log is to say of a request, as it becomes known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mgmt_api::Principal;

use crate::audit::What;

/// What is learnt of a request on its way.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) who: Option<Principal>,
    pub(super) what: What,
    /// Of what is refused to one address now and then a line is enough.
    pub(super) is_left_out: bool,
}

impl Note {
    /// What is asked, in the words of the audit log, and what it is about.
    pub fn names(&self, request: &str, targets: Vec<String>) {
        self.complete(|what| {
            request.clone_into(&mut what.request);
            what.targets = targets;
        });
    }

    pub(super) fn is_of(&self, principal: &Principal) {
        self.lock().who = Some(principal.clone());
    }

    pub(super) fn leave_out(&self) {
        self.lock().is_left_out = true;
    }

    pub(super) fn complete(&self, complete: impl FnOnce(&mut What)) {
        complete(&mut self.lock().what);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
