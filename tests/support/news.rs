//! What agents tell their controller, as its clients see it.

use std::{
    sync::mpsc::{Receiver, channel},
    thread,
};

use super::{controller::Controller, limit::Limit, websocket::Client};

/// A client that hears all of it.
#[derive(Debug)]
pub(crate) struct News(Receiver<String>);

impl News {
    pub(crate) fn of(controller: &mut Controller) -> Self {
        let mut observer = Client::observing(controller.websocket());
        let (tell, news) = channel();
        // Always read from: a client that does not answer pings is disconnected.
        thread::spawn(move || {
            while let Some(text) = observer.try_text_by(&Limit::new("news")) {
                if tell.send(text).is_err() {
                    return;
                }
            }
        });
        Self(news)
    }

    /// Waits for an agent to say something with all of these words, and returns it. What was said before is passed over.
    pub(crate) fn with(&self, words: &[&str]) -> String {
        let limit = Limit::new(format_args!("news about {words:?}"));
        loop {
            let text = self.0.recv_timeout(limit.left());
            let text = text.unwrap_or_else(|error| panic!("nothing about {words:?}: {error}"));
            if words.iter().all(|word| text.contains(word)) {
                return text;
            }
        }
    }
}
