use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::ResultRecord;

/// A request that is passed on to several agents, each under an id of its own: whom it waits for, and the results so
/// far.
#[derive(Clone, Debug)]
pub(super) struct Fanout<T = ResultRecord> {
    /// By the id of the agent's request, the instance that was asked.
    awaited: BTreeMap<ZeekString, ZeekString>,
    results: Vec<T>,
}

impl<T> Default for Fanout<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// What an agent's answer is to a [`Fanout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not one that is waited for: late, repeated, or from another instance than the one that was asked.
    Unasked,
    /// Others are still waited for.
    MoreToCome,
    Last,
}

impl<T> Fanout<T> {
    /// Waits for no agent yet; the results are those of the controller itself, which come first.
    pub(super) const fn new(results: Vec<T>) -> Self {
        Self {
            awaited: BTreeMap::new(),
            results,
        }
    }

    /// Waits for an instance, which is asked under this id.
    pub(super) fn ask(&mut self, reqid: ZeekString, instance: ZeekString) {
        self.awaited.insert(reqid, instance);
    }

    /// Whether this instance was asked under this id and has not answered.
    pub(super) fn awaits(&self, reqid: &ZeekString, instance: &ZeekString) -> bool {
        self.awaited.get(reqid) == Some(instance)
    }

    /// The id under which an instance was asked that has not answered.
    pub(super) fn asked_under(&self, instance: &ZeekString) -> Option<ZeekString> {
        let mut awaited = self.awaited.iter();
        let asked = awaited.find(|(_, asked)| *asked == instance);
        asked.map(|(reqid, _)| reqid.clone())
    }

    /// The instances that have not answered, by the ids under which they were asked.
    pub(super) fn silent(&self) -> impl Iterator<Item = &ZeekString> {
        self.awaited.values()
    }

    /// The results so far.
    pub(super) fn results(&self) -> &[T] {
        &self.results
    }

    /// Takes an agent's results in, if it was asked.
    pub(super) fn answer(&mut self, reqid: &ZeekString, instance: &ZeekString, results: Vec<T>) -> Answer {
        if !self.awaits(reqid, instance) {
            return Answer::Unasked;
        }
        self.awaited.remove(reqid);
        self.results.extend(results);
        if self.awaited.is_empty() {
            Answer::Last
        } else {
            Answer::MoreToCome
        }
    }

    /// The controller's results, then those of the agents in the order of their answers.
    pub(super) fn into_results(self) -> Vec<T> {
        self.results
    }
}

impl Fanout {
    /// The same when the time is up, with a failure for each instance that has not answered.
    pub(super) fn timed_out(self, reqid: &ZeekString) -> Vec<ResultRecord> {
        let late: Vec<_> = self.silent().map(|name| silent(reqid, name)).collect();
        let mut results = self.results;
        results.extend(late);
        results
    }
}

/// An instance has not answered in time.
///
/// DIFFERENCE(silent-instances): Zeek says `request timed out` once, and not which instances are the reason.
fn silent(reqid: &ZeekString, name: &ZeekString) -> ResultRecord {
    ResultRecord {
        instance: Some(name.clone()),
        ..ResultRecord::failure(
            reqid.clone(),
            format!("request timed out: instance {name} has not answered"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(reqid: &str) -> ResultRecord {
        ResultRecord::success(reqid.into())
    }

    #[test]
    fn results_come_in_the_order_of_the_answers_after_the_controllers_own() {
        let mut fanout = Fanout::new(vec![result("own")]);
        fanout.ask("1".into(), "a".into());
        fanout.ask("2".into(), "b".into());
        assert_eq!(
            fanout.answer(&"2".into(), &"b".into(), vec![result("2")]),
            Answer::MoreToCome
        );
        assert_eq!(
            fanout.answer(&"1".into(), &"a".into(), vec![result("1")]),
            Answer::Last
        );
        assert_eq!(fanout.into_results(), [result("own"), result("2"), result("1")]);
    }

    #[test]
    fn only_the_instance_that_was_asked_can_answer_and_only_once() {
        let mut fanout = Fanout::default();
        fanout.ask("1".into(), "host1".into());
        fanout.ask("2".into(), "host10".into());
        for (reqid, instance) in [("1", "host10"), ("2", "host1"), ("3", "host1"), ("", "host1")] {
            assert_eq!(
                fanout.answer(&reqid.into(), &instance.into(), vec![result(reqid)]),
                Answer::Unasked
            );
        }
        assert_eq!(
            fanout.answer(&"1".into(), &"host1".into(), vec![]),
            Answer::MoreToCome
        );
        assert_eq!(
            fanout.answer(&"1".into(), &"host1".into(), vec![]),
            Answer::Unasked
        );
        assert_eq!(fanout.answer(&"2".into(), &"host10".into(), vec![]), Answer::Last);
        assert!(fanout.into_results().is_empty());
    }
}
