//! The page in a browser.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    World,
    browser::{Browser, TAB},
};
use crate::support::{pending, signal, workspace_root};

/// How soon the page is to show that a node has died.
const SOON: Duration = Duration::from_secs(2);

/// Waits until `main` has all of these words.
const HAS: &str = "
    const done = arguments[arguments.length - 1];
    const words = arguments[0];
    const has = () => words.every((word) => document.querySelector('main').textContent.includes(word));
    if (has()) return done(true);
    const observer = new MutationObserver(() => { if (has()) { observer.disconnect(); done(true); } });
    observer.observe(document, { subtree: true, childList: true, characterData: true });
";

/// Waits until the line about the connection has this word.
const SAYS: &str = "
    const done = arguments[arguments.length - 1];
    const has = () => document.getElementById('live').textContent.includes(arguments[0]);
    if (has()) return done(true);
    const observer = new MutationObserver(() => { if (has()) { observer.disconnect(); done(true); } });
    observer.observe(document, { subtree: true, childList: true, characterData: true });
";

/// The serious faults that axe-core finds.
const FAULTS: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document).then((found) => done(found.violations
        .filter((fault) => ['serious', 'critical'].includes(fault.impact))
        .map((fault) => [fault.id, fault.help, fault.nodes.map((node) => node.html + ': ' + node.failureSummary)])));
";

/// A browser that shows the page. It asked for a token, as it does when it gets the challenge.
fn showing(world: &World) -> Option<Browser> {
    let browser = Browser::start(world.home.path())?;
    let token = world.token("browser", &["--role", "read"]);
    let address = world.address();
    browser.open(&format!("http://any:{token}@{address}/"));
    browser.open(&format!("http://{address}/"));
    browser.await_by(SAYS, &json!(["live"]));
    Some(browser)
}

fn focused(browser: &Browser) -> Value {
    browser.run("return document.activeElement.id", &json!([]))
}

/// Waits until the page shows that a worker has ended by itself this often.
const HAS_ENDED: &str = "
    const done = arguments[arguments.length - 1];
    const row = () => document.getElementById('node/default/sensor/worker-1');
    const has = () => row().children[6].textContent === String(arguments[0]);
    if (has()) return done(true);
    const observer = new MutationObserver(() => { if (has()) { observer.disconnect(); done(true); } });
    observer.observe(document, { subtree: true, childList: true, characterData: true });
";

/// How long it takes until the page shows that a worker was killed, for the so manieth time.
fn shown_after_death(world: &World, browser: &Browser, times: u32) -> Duration {
    let pid = world.pid("worker-1");
    let killed = Instant::now();
    signal(pid, Signal::KILL);
    browser.await_by(HAS_ENDED, &json!([times]));
    killed.elapsed()
}

#[test]
fn a_node_that_dies_is_shown_at_once_and_focus_and_scroll_stay() {
    let world = World::start();
    world.deploy();
    let Some(browser) = showing(&world) else {
        return world.stop();
    };
    browser.await_by(HAS, &json!([["all as deployed", "worker-1"]]));
    browser.run("window.isTheSame = true", &json!([]));
    let wanted = "table/nodes/default";
    for _ in 0..20 {
        browser.press(TAB);
        if focused(&browser) == wanted {
            break;
        }
    }
    assert_eq!(focused(&browser), wanted, "the keyboard gets there");
    browser.chromium(
        "Emulation.setDeviceMetricsOverride",
        &json!({ "width": 320, "height": 400, "deviceScaleFactor": 1, "mobile": false }),
    );
    let scroll = "document.activeElement.scrollIntoView(); document.activeElement.scrollLeft = 40";
    browser.run(scroll, &json!([]));
    // What is above may grow: what is looked at stays where it is.
    let places = "
        const focused = document.activeElement;
        return [Math.round(focused.getBoundingClientRect().top), focused.scrollLeft, window.isTheSame];
    ";
    let before = browser.run(places, &json!([]));
    assert_eq!(before, json!([0, 40, true]));
    // The machine may be busy for a while.
    let is_shown_soon = (1..=3).any(|times| shown_after_death(&world, &browser, times) <= SOON);
    assert!(is_shown_soon);
    browser.await_by(
        HAS,
        &json!([["node worker-1 on instance sensor is CRASHED, was RUNNING"]]),
    );
    assert_eq!(focused(&browser), wanted);
    assert_eq!(browser.run(places, &json!([])), before, "without a reload");
    drop(browser);
    world.stop();
}

#[test]
fn the_page_says_since_when_the_connection_is_lost() {
    let world = World::start();
    let Some(browser) = showing(&world) else {
        return world.stop();
    };
    let World {
        controller,
        mut instance,
        ..
    } = world;
    controller.stop();
    browser.await_by(SAYS, &json!(["connection lost at "]));
    drop(browser);
    instance.stop();
}

#[test]
fn a_phone_shows_the_page_without_scrolling_sideways_and_no_serious_fault_is_found() {
    let world = World::start();
    world.deploy();
    let Some(browser) = showing(&world) else {
        return world.stop();
    };
    let axe = fs::read_to_string(workspace_root().join(".local/axe-core/axe.min.js"));
    let Ok(axe) = axe else {
        let why = "axe-core is not in .local: MGMT_REQUIRE=browser scripts/check.sh --setup gets it";
        pending("browser", "browser", why);
        return world.stop();
    };
    browser.await_by(HAS, &json!([["all as deployed", "worker-1"]]));
    for (width, scheme) in [(320, "light"), (320, "dark"), (1280, "light"), (1280, "dark")] {
        browser.chromium(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": 640, "deviceScaleFactor": 1, "mobile": false }),
        );
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        browser.chromium("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
        let wide = browser.run("return document.documentElement.scrollWidth", &json!([]));
        assert!(
            wide.as_i64().is_some_and(|wide| wide <= width),
            "{wide} of {width}"
        );
        browser.run(&axe, &json!([]));
        let faults = browser.await_by(FAULTS, &json!([]));
        assert_eq!(faults, json!([]), "{width} {scheme}");
    }
    drop(browser);
    world.stop();
}
