//! Says what is excused.

use std::{collections::BTreeMap, sync::Arc};

use broker_codec::{Data, data::ZeekString};

use super::{
    history::History,
    message::{Value, reqid},
    names::{Mismatch, without_indices},
    recording::Process,
    report::{Difference, Report},
    rules::{Case, explanation},
};

/// What has happened, and what that explains.
pub(super) struct Judge {
    pub(super) history: History,
    /// Whether nothing is.
    strict: bool,
    /// The ids of requests with deviations, and the rules that explain these.
    explained: BTreeMap<ZeekString, &'static str>,
}

impl Judge {
    pub(super) fn new(process: Arc<Process>, strict: bool) -> Self {
        Self {
            history: History::new(process),
            strict,
            explained: BTreeMap::new(),
        }
    }

    /// The key of the rule that explains a deviation.
    pub(super) fn explanation(&self, case: &Case<'_>) -> Option<&'static str> {
        explanation(case, &self.history).filter(|_| !self.strict)
    }

    /// The rule that explains what differs about the request with this id.
    pub(super) fn explained(&self, reqid: &ZeekString) -> Option<&'static str> {
        self.explained.get(reqid).copied()
    }

    /// Reports where values differ, as far as no rule explains it. Whether rules explain all of it.
    pub(super) fn compare(
        &mut self,
        mismatches: Vec<Mismatch>,
        case: &Case<'_>,
        of: &Difference,
        report: &mut Report,
    ) -> bool {
        let found = report.differences.len();
        for Mismatch { path, expected, got } in mismatches {
            let place = without_indices(&path);
            let case = Case {
                path: &place,
                expected: expected.as_ref(),
                got: got.as_ref(),
                ..*case
            };
            if !self.explain(&case, report) {
                let in_words = |data: Option<Data>| {
                    data.map_or_else(|| "nothing".into(), |data| Value(&data).to_string())
                };
                let difference = Difference { path, ..of.clone() };
                report
                    .differences
                    .push(difference.between(in_words(expected), in_words(got)));
            }
        }
        report.differences.len() == found
    }

    /// Whether a rule explains a deviation. That counts, and explains what else differs about the same request.
    pub(super) fn explain(&mut self, case: &Case<'_>, report: &mut Report) -> bool {
        let Some(key) = self.explanation(case) else {
            return false;
        };
        let is_about_request = case.name.ends_with("_request") || case.name.ends_with("_response");
        let events = [case.recorded, case.sent].into_iter().flatten();
        let reqids = events.filter(|_| is_about_request).filter_map(reqid);
        let known = reqids.filter(|reqid| !reqid.is_empty());
        self.explained.extend(known.map(|reqid| (reqid.clone(), key)));
        report.explain(key, case.in_words());
        true
    }
}
