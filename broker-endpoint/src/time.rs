use tokio::time::{Instant, sleep_until};

/// Waits until a time; for ever if there is none.
pub async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
