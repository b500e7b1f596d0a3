//! What a changed configuration changes, on two hosts: no more than need be.

use super::sensors::{SENSORS, Sensors};
use crate::support::{changed, limit::Limit};

impl Sensors {
    /// Waits until all nodes know the same, and says how many of its nodes a node's cluster has.
    fn all_know(&mut self, count: usize, worker: &str, is_known: bool) {
        let limit = Limit::new(format_args!("all {count} nodes to know {worker}: {is_known}"));
        limit.poll(|| {
            let values = self.succeed(&["get-id-value", "Cluster::nodes"], None);
            let values = values.as_object().expect("values");
            assert_eq!(values.len(), count, "{values:?}");
            let agree = values
                .values()
                .all(|value| value.get(worker).is_some() == is_known);
            agree.then_some(())
        });
    }
}

#[test]
fn only_what_a_changed_configuration_concerns_is_touched() {
    let mut sensors = Sensors::start();
    let mut cluster = sensors.cluster([1, 1]);
    let mut before = sensors.deploy(&cluster);

    let after = sensors.deploy(&cluster);
    assert_eq!(changed(&before, &after), [""; 0], "the same again");

    cluster.set("worker-sensor-1-1", "env = COLOUR=green");
    let after = sensors.deploy(&cluster);
    assert_eq!(changed(&before, &after), ["worker-sensor-1-1"]);
    before = after;

    cluster.add_worker("worker-new", SENSORS[1]);
    let after = sensors.deploy(&cluster);
    assert_eq!(changed(&before, &after), ["worker-new"]);
    sensors.all_know(6, "worker-new", true);
    before = after;

    cluster.remove("worker-sensor-1-1");
    let after = sensors.deploy(&cluster);
    assert_eq!(changed(&before, &after), ["worker-sensor-1-1"]);
    sensors.stop();
}
