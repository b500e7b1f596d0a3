//! How a question gets to the daemon's loop, and the answer back.

use std::collections::BTreeMap;

use mgmt_api::Principal;
use tokio::sync::{mpsc, oneshot};

use super::Problem;

/// How many questions may wait for the loop.
pub(super) const QUESTIONS_MAX: usize = 64;

/// Where routes ask.
#[derive(Debug)]
pub struct Door<Q, A> {
    questions: mpsc::Sender<Knock<Q, A>>,
}

#[derive(Debug)]
struct Knock<Q, A> {
    principal: Principal,
    question: Q,
    answer: oneshot::Sender<A>,
}

/// What was asked, for the core.
#[derive(Debug)]
pub struct Asked<Q> {
    /// What the answer is given under.
    pub id: u64,
    pub principal: Principal,
    pub question: Q,
}

/// The loop's end: what is asked, and who waits for an answer.
#[derive(Debug)]
pub struct Operators<Q, A> {
    questions: mpsc::Receiver<Knock<Q, A>>,
    waiting: BTreeMap<u64, oneshot::Sender<A>>,
    last: u64,
}

impl<Q, A> Clone for Door<Q, A> {
    fn clone(&self) -> Self {
        let questions = self.questions.clone();
        Self { questions }
    }
}

impl<Q, A> Door<Q, A> {
    pub fn new() -> (Self, Operators<Q, A>) {
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        let operators = Operators {
            questions,
            waiting: BTreeMap::new(),
            last: 0,
        };
        (Self { questions: sender }, operators)
    }

    /// Asks, and waits for the answer: the core gives one, in its time.
    ///
    /// # Errors
    ///
    /// If the daemon is ending.
    pub async fn ask(&self, principal: Principal, question: Q) -> Result<A, Problem> {
        let (answer, answered) = oneshot::channel();
        let knock = Knock {
            principal,
            question,
            answer,
        };
        self.questions.send(knock).await.map_err(|_| Problem::ending())?;
        answered.await.map_err(|_| Problem::ending())
    }
}

impl<Q, A> Operators<Q, A> {
    /// Waits for the next question. May be cancelled without losing one.
    pub async fn next(&mut self) -> Asked<Q> {
        loop {
            let Some(knock) = self.questions.recv().await else {
                return std::future::pending().await;
            };
            // The one who asked may be gone.
            if knock.answer.is_closed() {
                continue;
            }
            self.last += 1;
            self.waiting.insert(self.last, knock.answer);
            return Asked {
                id: self.last,
                principal: knock.principal,
                question: knock.question,
            };
        }
    }

    /// Gives the answer to one who may not wait for it any more.
    pub fn answer(&mut self, id: u64, answer: A) {
        if let Some(waiting) = self.waiting.remove(&id) {
            let _ = waiting.send(answer);
        }
    }
}
