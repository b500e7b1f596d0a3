//! When the controller is killed, and how far a deployment got.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use mgmt_api::{ClientRequest, ClientResponse, Configuration};
use rustix::process::{Pid, Signal, kill_process};
use testkit::Dice;

use crate::support::session::{Session, stage_request};

#[derive(Debug)]
pub(super) struct Point {
    pub(super) moment: u64,
    /// How long after it.
    pub(super) after: Duration,
}

impl Point {
    /// Of a deployment that has so many moments at most: staging and deployment are as likely as each other.
    pub(super) fn roll(dice: &mut Dice, moments: u64) -> Self {
        let moment = match dice.below(5) {
            0 | 1 => dice.below(2),
            2 | 3 => 2 + dice.below(moments),
            _ => u64::MAX,
        };
        let after = if dice.percent(50) {
            dice.micros(13)
        } else {
            Duration::from_micros(dice.below(6_000))
        };
        Self { moment, after }
    }
}

/// Kills a process at a point, or when no moment comes any more. Returns the last moment before that.
pub(super) fn kill_at(pid: i32, moments: &Receiver<String>, point: &Point) -> String {
    let mut last = "the beginning".to_owned();
    for _ in 0..=point.moment {
        match moments.recv_timeout(Duration::from_secs(60)) {
            Ok(moment) => last = moment,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("the deployment hangs after: {last}"),
        }
    }
    // Not to wait for something: to kill at any time.
    thread::sleep(point.after);
    let pid = Pid::from_raw(pid).expect("a process");
    kill_process(pid, Signal::KILL).expect("it lives until it is waited for");
    last
}

/// What the client heard before the crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answered {
    #[default]
    Nothing,
    Staged,
    Deployed,
}

/// Stages and deploys as far as the controller lives.
pub(super) fn deploy_until_the_end(
    session: &mut Session,
    config: &Configuration,
    moments: &Sender<String>,
) -> Answered {
    let mut ask = |what: &str, request: &ClientRequest| -> Option<ClientResponse> {
        // The listener is gone after the kill.
        let _ = moments.send(format!("{what} is asked for"));
        session.try_send(request)?;
        let response = session.try_answer(request)?;
        let _ = moments.send(format!("{what} is answered"));
        assert!(
            response.results().iter().all(|result| result.success),
            "{response:?}"
        );
        Some(response)
    };
    if ask("staging", &stage_request(config)).is_none() {
        return Answered::Nothing;
    }
    let reqid = config.id.clone();
    match ask("deployment", &ClientRequest::Deploy { reqid }) {
        None => Answered::Staged,
        Some(_) => Answered::Deployed,
    }
}
