//! What may block is done for a few nodes at the same moment, by as many threads. tokio's own would be one for each node: it starts one more
//! for what comes in the moment in which another one has just done its work.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use tokio::{runtime::Handle, sync::oneshot};

/// How many threads there are.
const THREADS: usize = 4;

type Work = Box<dyn FnOnce() + Send>;

/// A handle to the threads, which end with it.
#[derive(Debug)]
pub(super) struct Works {
    to_do: Sender<Work>,
}

impl Works {
    /// To be called within tokio's runtime.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Handle::current();
        let (to_do, works) = channel::<Work>();
        let works = Arc::new(Mutex::new(works));
        for _ in 0..THREADS {
            let (works, runtime) = (Arc::clone(&works), runtime.clone());
            thread::Builder::new()
                .name(String::from("nodes"))
                .spawn(move || {
                    let _within = runtime.enter();
                    while let Some(work) = next(&works) {
                        // Who asked hears of no outcome.
                        let _ = catch_unwind(AssertUnwindSafe(work));
                    }
                })?;
        }
        Ok(Self { to_do })
    }

    /// Does this, in its turn.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (tell, told) = oneshot::channel();
        // Who asked may be gone.
        let work = Box::new(move || drop(tell.send(work())));
        // The threads end after this handle.
        let _ = self.to_do.send(work);
        told.await.map_err(io::Error::other)
    }
}

/// One of the threads waits for all of them.
fn next(works: &Mutex<Receiver<Work>>) -> Option<Work> {
    works.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
