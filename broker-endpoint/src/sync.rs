use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic of another task under the lock counts for nothing: each change here is complete before any code that can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
