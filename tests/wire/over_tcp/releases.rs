//! What releases of Broker, and with them of Zeek, do differently on the wire: `tests/transcripts/releases/`. The script says
//! what that release says, and expects what it can live with.
//!
//! The bytes of handshakes, envelopes and values are the same in all.

use super::world;

async fn check(name: &str) {
    world::check("releases", name).await;
}

/// Broker 2.3.1.
#[tokio::test]
async fn zeek_5_0() {
    check("zeek-5.0").await;
}

/// Broker 2.4.0.
#[tokio::test]
async fn zeek_5_1() {
    check("zeek-5.1").await;
}

/// Broker 2.5.
#[tokio::test]
async fn zeek_5_2() {
    check("zeek-5.2").await;
}

/// Broker 2.6 and 2.7.
#[tokio::test]
async fn zeek_6_0_and_6_1() {
    check("zeek-6.0-6.1").await;
}

/// Broker 6.2.0 to 2.8.0-dev.97.
#[tokio::test]
async fn zeek_6_2_and_7_0() {
    check("zeek-6.2-7.0").await;
}

/// Broker 2.8.0-dev.169.
#[tokio::test]
async fn zeek_7_1() {
    check("zeek-7.1").await;
}

/// Broker 2.8.0-dev.234.
#[tokio::test]
async fn zeek_7_2() {
    check("zeek-7.2").await;
}

/// Broker 2.8.0-dev.280.
#[tokio::test]
async fn zeek_8_0() {
    check("zeek-8.0").await;
}

/// Broker 2.8.0-dev.294 to .310.
#[tokio::test]
async fn zeek_8_1_and_8_2() {
    check("zeek-8.1-8.2").await;
}

/// Broker 2.8.0-dev.329.
#[tokio::test]
async fn zeek_9_0() {
    check("zeek-9.0").await;
}

/// The same from 2.3.1 on, but for the text.
#[tokio::test]
async fn drop_conn() {
    check("drop-conn").await;
}
