//! The controller as its unit starts it.

use crate::support::{
    container::{self, Container},
    controller, mgmtctl,
};

/// The unit, with the program where it is here.
const INSTALL: &str = "
sed 's#/usr/bin/#/opt/mgmt/#' /opt/mgmt/mgmt-controller.service >/etc/systemd/system/mgmt-controller.service
systemctl daemon-reload";

const ASK: &str = "/opt/mgmt/mgmtctl --socket /run/zeek-mgmt/controller.sock";

#[test]
fn its_unit_lets_it_do_its_work_and_little_else() {
    if !container::is_possible() {
        return;
    }
    let container = Container::boot(&[controller::binary(), mgmtctl::binary()], None);
    container.sh(INSTALL);
    // It has told that it is ready when this returns.
    container.sh("systemctl start mgmt-controller");
    let pid = container.sh("systemctl show -P MainPID mgmt-controller");
    assert_eq!(container.sh(&format!("ps -o user= -p {pid}")), "zeek");
    let status = container.sh(&format!("{ASK} status"));
    assert!(status.ends_with("nothing is deployed: 0 nodes"), "{status}");

    container.sh("systemctl reload mgmt-controller");
    let journal = "journalctl -u mgmt-controller";
    container.sh(&format!(
        "until {journal} | grep -q 'reloaded, log level'; do sleep 0.1; done"
    ));
    let reloaded = container.sh(&format!("{ASK} reload"));
    assert!(
        reloaded.starts_with("reloaded, log level info, tokens: "),
        "{reloaded}"
    );
    assert_eq!(container.sh("systemctl show -P MainPID mgmt-controller"), pid);

    let analysis = container.sh("systemd-analyze --no-pager security mgmt-controller.service");
    let exposure = analysis.lines().last().and_then(|line| {
        let level = line.split_once("mgmt-controller.service: ")?.1;
        level.split(' ').next()?.parse::<f64>().ok()
    });
    assert!(exposure.is_some_and(|level| level < 3.0), "{analysis}");

    container.sh("systemctl stop mgmt-controller");
    assert_eq!(
        container.sh("systemctl show -P Result mgmt-controller"),
        "success"
    );
}
