//! What keeps the nodes running, for the agent: [`zeek`] is a `zeek -j` process, reached over Broker; [`own`] needs none.

pub mod own;
pub mod zeek;

use broker_codec::data::ZeekString;
use mgmt_api::Now;

use self::{own::OwnSupervisor, zeek::ZeekSupervisor};
use crate::core::{Command, Report, Settings, Supervise, Turn};

/// What happens to a Supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<News> {
    /// The agent wants something done.
    Command(Command),
    /// Something has happened to what stands behind it.
    News(News),
    /// A node has said hello.
    Up(ZeekString),
    /// Time has passed; due at [`Supervisor::deadline`].
    Tick,
}

/// A machine of the same form as the agent, between it and what really starts processes.
pub trait Supervisor {
    /// What can happen to what stands behind it.
    type News;

    /// Takes one input in. What has to happen because of it is in the turn then; what the agent has to know comes back, in this
    /// order. Commands that have not been answered fail first.
    fn step(&mut self, turn: &mut Turn, input: Input<Self::News>) -> Vec<Report>;

    /// When [`Input::Tick`] is due. Later than the time of the last turn.
    fn deadline(&self) -> Option<Now>;
}

/// The Supervisor that the settings name.
#[derive(Debug)]
pub enum AnySupervisor {
    Zeek(Box<ZeekSupervisor>),
    Own(Box<OwnSupervisor>),
}

/// What happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyNews {
    Zeek(zeek::News),
    Own(own::News),
}

impl AnySupervisor {
    pub fn new(settings: &Settings) -> Self {
        match settings.supervise {
            Supervise::Zeek => Self::Zeek(Box::new(ZeekSupervisor::new(settings.zeek.clone()))),
            Supervise::Systemd | Supervise::Native => {
                Self::Own(Box::new(OwnSupervisor::new(settings.launch.clone())))
            }
        }
    }

    /// Whether it is not known yet which nodes run, of those that have something to show.
    pub const fn is_looking(&self) -> bool {
        match self {
            Self::Zeek(_) => false,
            Self::Own(own) => own.is_looking(),
        }
    }

    /// What a peer has to show to be this node, if it was given something to show.
    pub fn token_of(&self, node: &ZeekString) -> Option<&ZeekString> {
        match self {
            Self::Zeek(_) => None,
            Self::Own(own) => own.token_of(node),
        }
    }
}

impl Supervisor for AnySupervisor {
    type News = AnyNews;

    /// News of another Supervisor than the one that is there cannot come, and mean nothing.
    fn step(&mut self, turn: &mut Turn, input: Input<AnyNews>) -> Vec<Report> {
        match self {
            Self::Zeek(zeek) => {
                let input = input.news(|news| match news {
                    AnyNews::Zeek(news) => Some(news),
                    AnyNews::Own(_) => None,
                });
                input.map_or_else(Vec::new, |input| zeek.step(turn, input))
            }
            Self::Own(own) => {
                let input = input.news(|news| match news {
                    AnyNews::Own(news) => Some(news),
                    AnyNews::Zeek(_) => None,
                });
                input.map_or_else(Vec::new, |input| own.step(turn, input))
            }
        }
    }

    fn deadline(&self) -> Option<Now> {
        match self {
            Self::Zeek(zeek) => zeek.deadline(),
            Self::Own(own) => own.deadline(),
        }
    }
}

impl<News> Input<News> {
    /// The same with other news, unless there are none.
    fn news<Other>(self, other: impl FnOnce(News) -> Option<Other>) -> Option<Input<Other>> {
        Some(match self {
            Self::Command(command) => Input::Command(command),
            Self::News(news) => Input::News(other(news)?),
            Self::Up(node) => Input::Up(node),
            Self::Tick => Input::Tick,
        })
    }
}
