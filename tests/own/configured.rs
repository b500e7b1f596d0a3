//! Configurations and deployments, by zeek-client and by `mgmtctl` in turn: each sees what the other has done.

use super::sensors::Sensors;

#[test]
fn what_zeek_client_has_staged_and_deployed_is_what_mgmtctl_shows() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([1, 1]);
    sensors.deploy(&cluster);
    let shown = sensors.mgmtctl(&["config", "show"]);
    let same = sensors.zeek_client(&["get-config", "--deployed"], None);
    assert_eq!(shown.printed(), same.printed());

    cluster.set("worker-sensor-1-1", "env = A=\"b c\" D=");
    cluster.set("worker-sensor-1-1", "cpu_affinity = 0");
    sensors.succeed(&["stage-config", "-"], Some(&cluster.text()));
    let shown = sensors.mgmtctl(&["config", "show", "staged"]);
    let same = sensors.zeek_client(&["get-config"], None);
    assert_eq!(shown.printed(), same.printed());
    let shown = sensors.mgmtctl(&["config", "show", "staged", "--json"]);
    let same = sensors.zeek_client(&["get-config", "--as-json"], None);
    assert_eq!(shown.printed(), same.printed());
    sensors.stop();
}
