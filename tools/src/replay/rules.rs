//! The deviations that are known, as rules: what may differ, where, and when. Each has its evidence: the key or number of a row of
//! docs/deviations.md.

use std::{collections::BTreeSet, sync::LazyLock};

use broker_codec::{Data, Topic, zeek::Event};
use mgmt_api::{Dialect, topics};
use strum::{EnumString, IntoStaticStr};

use super::{
    history::{History, Incident, NOTHING_DEPLOYED, TIMED_OUT, says},
    recording::Role,
};

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(super) enum Kind {
    /// A recorded event that the peer under test does not send.
    Missing,
    /// An event that is not recorded.
    Extra,
    /// A recorded event that is sent before others that are recorded before it on the same connection.
    Early,
    /// A field of an event with another value.
    Differs,
    /// A recorded line of the management log that is not written.
    #[strum(serialize = "log missing")]
    LogMissing,
    /// A line of the management log that is not recorded.
    #[strum(serialize = "log extra")]
    LogExtra,
}

/// Something that differs, and what is known about it.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) kind: Kind,
    /// The event's name, or the line of the log.
    pub(super) name: &'a str,
    /// The place in the event, without indices.
    pub(super) path: &'a str,
    pub(super) link: usize,
    pub(super) recorded: Option<&'a Event>,
    pub(super) sent: Option<&'a Event>,
    /// What is recorded at the place.
    pub(super) expected: Option<&'a Data>,
    /// What was sent there.
    pub(super) got: Option<&'a Data>,
    /// Whether the request that was sent has the id of an earlier one.
    pub(super) repeats: bool,
    /// Whether the id of a request that is recorded stands in the line of the log.
    pub(super) has_known_id: bool,
}

impl<'a> Case<'a> {
    pub(super) const fn new(kind: Kind, name: &'a str, link: usize) -> Self {
        Self {
            kind,
            name,
            path: "",
            link,
            recorded: None,
            sent: None,
            expected: None,
            got: None,
            repeats: false,
            has_known_id: false,
        }
    }

    /// What it is about: `extra`, the event and the place, or the beginning of the line.
    pub(super) fn in_words(&self) -> String {
        let name = match self.kind {
            Kind::LogMissing | Kind::LogExtra => beginning(self.name),
            _ => self.name.to_owned(),
        };
        let kind: &str = self.kind.into();
        let words = format!("{kind} {name} {}", self.path);
        words.trim_end().to_owned()
    }

    fn recorded_says(&self, text: &str) -> bool {
        let mut args = self.recorded.iter().flat_map(|event| &event.args);
        args.any(|arg| says(arg, text))
    }

    fn sent_says(&self, text: &str) -> bool {
        let mut args = self.sent.iter().flat_map(|event| &event.args);
        args.any(|arg| says(arg, text))
    }

    fn expects_time_out(&self) -> bool {
        matches!(self.expected, Some(Data::String(error)) if *error == TIMED_OUT)
    }

    /// Nothing is recorded there, and an error was sent.
    fn adds_an_error(&self) -> bool {
        let is_error =
            |got: &Data| matches!(got, Data::Vector(fields) if fields.get(1) == Some(&Data::Boolean(false)));
        self.expected.is_none() && self.got.is_some_and(is_error)
    }

    /// An enum's value changes from one of these to one of those.
    fn turns(&self, from: &[&str], to: &[&str]) -> bool {
        let is = |data: Option<&Data>, of: &[&str]| match data {
            Some(Data::EnumValue(value)) => of.iter().any(|name| value.0.ends_with(name.as_bytes())),
            _ => false,
        };
        is(self.expected, from) && is(self.got, to)
    }
}

/// What a line of the log is about: `tx` or `rx` and the event, or the first words.
fn beginning(line: &str) -> String {
    if line.starts_with("request ") && line.ends_with(" timed out") {
        return "request timed out".into();
    }
    let count = match line.split(' ').next() {
        Some("tx" | "rx") => 2,
        Some("node" | "instance") => 1,
        _ => 3,
    };
    let words: Vec<&str> = line.split(' ').take(count).collect();
    words.join(" ")
}

/// What may differ: a row of rules.txt.
pub(super) struct Rule {
    /// The row of docs/deviations.md.
    key: &'static str,
    role: &'static str,
    kind: Kind,
    name: &'static str,
    path: &'static str,
    when: Condition,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rows = include_str!("rules.txt").lines();
    let rows = rows.filter(|row| !row.is_empty() && !row.starts_with('#'));
    rows.map(|row| Rule::read(row).unwrap_or_else(|| panic!("{row} is no rule")))
        .collect()
});

/// The rows of docs/deviations.md that rules refer to.
pub fn keys() -> BTreeSet<&'static str> {
    RULES.iter().map(|rule| rule.key).collect()
}

/// The key of the rule that explains a deviation.
pub(super) fn explanation(case: &Case<'_>, history: &History) -> Option<&'static str> {
    let role = match history.process.role {
        Role::Controller => "controller",
        Role::Agent(_) => "agent",
    };
    let fits = |rule: &&Rule| rule.is_for(role, case) && rule.when.holds(case, history);
    RULES.iter().find(fits).map(|rule| rule.key)
}

impl Rule {
    fn read(row: &'static str) -> Option<Self> {
        let fields: Vec<&str> = row.split('|').map(str::trim).collect();
        match fields[..] {
            [key, role @ ("controller" | "agent"), kind, name, path, when] => Some(Self {
                key,
                role,
                kind: kind.parse().ok()?,
                name,
                path,
                when: when.parse().ok()?,
            }),
            _ => None,
        }
    }

    fn is_for(&self, role: &str, case: &Case<'_>) -> bool {
        let is_named = match case.kind {
            Kind::LogMissing | Kind::LogExtra => case.name.starts_with(self.name),
            _ => case.name.ends_with(self.name),
        };
        self.role == role && self.kind == case.kind && is_named && case.path.starts_with(self.path)
    }
}

/// The conditions of the table.
#[derive(Clone, Copy, Debug, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
enum Condition {
    Always,
    Ended,
    LostTheSupervisor,
    NotAboutTheSupervisor,
    Answered,
    OfItsOwn,
    Superseded,
    Idle,
    AddsAnErrorToTheTimeOut,
    WasAnOutput,
    WasOneSuccess,
    #[strum(serialize = "before-5.0")]
    Before50,
    UnreadableDeployment,
    DeploysWhatIsUnreadable,
    OurController,
    #[strum(serialize = "across-7.0")]
    Across70,
    #[strum(serialize = "timed-out-across-7.0")]
    TimedOutAcross70,
    UnknownHost,
    Named,
    NotDeployed,
    Silent,
    LostAnAgent,
    TimeOfDay,
    Absent,
    Staging,
    Refused,
    AnotherConfigurationSinceOneWasRefused,
    AnotherConfigurationSinceADeploymentTimedOut,
    NothingDeployedSinceADeploymentTimedOut,
    DeploymentTimedOut,
    Welcomed,
    WelcomedTwice,
    ReadyAndWelcomedTwice,
    DeployedAndWelcomedTwice,
    Repeated,
    LostAPeer,
}

impl Condition {
    fn holds(self, case: &Case<'_>, history: &History) -> bool {
        let recorded = |is: &dyn Fn(&Event) -> bool| case.recorded.is_some_and(is);
        let sent = |is: &dyn Fn(&Event) -> bool| case.sent.is_some_and(is);
        let has_timed_out = case.recorded_says(TIMED_OUT);
        let lost_supervisor = case.sent_says("lost the Supervisor");
        let [refused, deployment_timed_out, welcomed_twice] = [
            Incident::Refused,
            Incident::DeploymentTimedOut,
            Incident::WelcomedTwice,
        ]
        .map(|incident| history.has(incident));
        match self {
            Self::Always => true,
            Self::Ended => case.turns(
                &["PENDING", "RUNNING"],
                &["FAILED", "CRASHED", "STOPPED", "UNKNOWN"],
            ),
            Self::LostTheSupervisor => {
                history.has(Incident::LostSupervisor) && (case.sent.is_none() || lost_supervisor)
            }
            Self::NotAboutTheSupervisor => !lost_supervisor,
            Self::Answered => has_timed_out && recorded(&|answer| !history.is_open(case.link, answer)),
            Self::OfItsOwn => !case.has_known_id,
            Self::Superseded => case.sent_says("superseded by deployment"),
            Self::Idle => {
                let is_success = case.path.ends_with(".success");
                has_timed_out && !case.sent_says(TIMED_OUT) && (case.expects_time_out() || is_success)
            }
            Self::AddsAnErrorToTheTimeOut => has_timed_out && case.adds_an_error(),
            Self::WasAnOutput => matches!(case.expected, Some(Data::Vector(_))),
            Self::WasOneSuccess => recorded(&is_one_success) && !has_timed_out,
            Self::Before50 => history.process.dialect < Dialect::V5_0,
            Self::UnreadableDeployment => is_unreadable(history),
            Self::DeploysWhatIsUnreadable => is_unreadable(history) && sent(&has_all_nodes),
            Self::OurController => is_led_by_ours(history),
            Self::Across70 => history.crosses_7_0(),
            Self::TimedOutAcross70 => history.crosses_7_0() && has_timed_out,
            Self::UnknownHost => is_unspecified(case.expected) && !is_unspecified(case.got),
            Self::Named => is_named(case),
            Self::NotDeployed => case.sent_says("not deployed: ") && is_more_precise(case),
            Self::Silent => case.sent_says(TIMED_OUT) && (is_more_precise(case) || case.adds_an_error()),
            Self::LostAnAgent => case.sent_says("connection to the agent lost") && is_more_precise(case),
            Self::TimeOfDay => timeless(case.expected) == timeless(case.got),
            Self::Absent => {
                case.adds_an_error() && case.got.is_some_and(|got| says(got, " is not connected"))
            }
            Self::Staging => history.owes(Some(case.link), "::stage_configuration_response"),
            Self::Refused => refused && sent(&|answer| history.is_open(case.link, answer)),
            Self::AnotherConfigurationSinceOneWasRefused => refused && shows_another(case),
            Self::AnotherConfigurationSinceADeploymentTimedOut => deployment_timed_out && shows_another(case),
            Self::NothingDeployedSinceADeploymentTimedOut => {
                let is_refused = match case.recorded {
                    Some(_) => case.recorded_says(NOTHING_DEPLOYED),
                    None => history.has(Incident::NothingDeployed),
                };
                deployment_timed_out && is_refused
            }
            Self::DeploymentTimedOut => deployment_timed_out,
            Self::Welcomed => recorded(&|request| history.has_sent(case.link, request)),
            Self::WelcomedTwice => welcomed_twice,
            Self::ReadyAndWelcomedTwice => welcomed_twice && case.name.ends_with(" ready"),
            Self::DeployedAndWelcomedTwice => {
                welcomed_twice && recorded(&|request| history.has_deployed(case.link, request))
            }
            Self::Repeated => case.repeats,
            Self::LostAPeer => history.has(Incident::LostPeer),
        }
    }
}

/// Whether one success is all that an answer says, and of no node.
fn is_one_success(answer: &Event) -> bool {
    matches!(answer.args.get(1), Some(Data::Vector(results)) if matches!(&results[..], [Data::Vector(fields)]
        if fields.get(1) == Some(&Data::Boolean(true)) && fields.last() == Some(&Data::None)))
}

/// Whether it is an agent of Zeek's that our controller leads. One of ours has subscribed to the topics of all releases.
fn is_led_by_ours(history: &History) -> bool {
    let has = |filter: &[Topic], prefix: &str| {
        let mut topics = filter.iter();
        topics.any(|topic| topic.as_bytes().starts_with(prefix.as_bytes()))
    };
    history.process.links.values().any(|link| {
        link.with == "controller"
            && has(&link.peer_filter, topics::LINK)
            && !has(&link.filter, topics::CLUSTER_AGENT_PREFIX)
    })
}

fn is_unspecified(host: Option<&Data>) -> bool {
    host.is_some_and(|host| host.to_string() == "0.0.0.0")
}

fn is_unreadable(history: &History) -> bool {
    history.crosses_7_0()
        && history.process.dialect == Dialect::V7_0
        && history.owes(None, "::deploy_response")
}

/// Whether every result of an answer is the success of a node.
fn has_all_nodes(answer: &Event) -> bool {
    let is_node = |result: &Data| match result {
        Data::Vector(fields) => {
            fields.get(1) == Some(&Data::Boolean(true)) && matches!(fields.last(), Some(Data::String(_)))
        }
        _ => false,
    };
    matches!(answer.args.get(1), Some(Data::Vector(results)) if results.iter().all(is_node))
}

/// Whether an answer shows a configuration with another id, or none where there is one.
fn shows_another(case: &Case<'_>) -> bool {
    let id = |event: Option<&Event>| match event?.args.get(1)? {
        Data::Vector(result) => match result.get(3)? {
            Data::Vector(configuration) => configuration.first().cloned(),
            _ => None,
        },
        _ => None,
    };
    id(case.recorded) != id(case.sent)
}

fn timeless(data: Option<&Data>) -> Option<String> {
    Some(without_times(&data?.to_string()))
}

/// A text with zeros for each time of day, such as `14:48:15`: a replay has none.
pub(super) fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        digits == 6 && word.bytes().filter(|byte| *byte == b':').count() == 2
    };
    let words = text.split(' ').map(|word| match word.split_at_checked(8) {
        Some((time, rest)) if is_time(time) => format!("00:00:00{rest}"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The recorded error behind the name of its instance.
fn is_named(case: &Case<'_>) -> bool {
    let (Some(Data::String(expected)), Some(Data::String(got))) = (case.expected, case.got) else {
        return false;
    };
    let named = got.to_string();
    let error = named
        .strip_prefix("instance ")
        .and_then(|rest| rest.split_once(": "));
    error.is_some_and(|(_, error)| *expected == error)
}

/// The name of an instance where there was none, or an error that says more than that a request timed out.
fn is_more_precise(case: &Case<'_>) -> bool {
    let is_new = || {
        case.expected
            .is_some_and(|data| *data == Data::None || *data == Data::String("".into()))
    };
    let is_its_place = match case.path.rsplit('.').next() {
        Some("instance") => is_new(),
        Some("error") => case.expects_time_out(),
        _ => false,
    };
    is_its_place && case.recorded_says(TIMED_OUT)
}

#[cfg(test)]
mod tests;
