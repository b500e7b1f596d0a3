//! The configurations of a cluster on its controller's control socket. What comes of deployments is in `own/configured.rs`.

use crate::{
    control_socket::{assert_problem, request},
    support::{controller::Controller, mgmtctl, zeek_client::zeek_client},
};

const PATH: &str = "/v1/clusters/default/configurations";

const CLUSTER: &str = "[instances]\nsensor1\n[manager]\ninstance = sensor1\nrole = manager\n";

#[test]
fn a_configuration_is_had_with_its_id_as_its_tag_and_one_that_is_not_there_is_not_found() {
    let mut controller = Controller::start::<&str>(&[]);
    let directory = controller.working_dir("controller");
    for which in ["staged", "deployed"] {
        let none = request(&directory, &format!("GET {PATH}/{which}"), "");
        assert_problem(&none, 404, &format!("no configuration is {which}"));
        mgmtctl::ask(&directory, &["config", "show", which])
            .failed(1, &format!("no configuration is {which}"));
    }
    let staged = zeek_client(&mut controller, &["stage-config", "-"], Some(CLUSTER)).json(0);
    let id = staged["results"]["id"].as_str().expect("an id");
    let answer = request(&directory, &format!("GET {PATH}/staged"), "");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(&format!("etag: \"{id}\"\r\n")), "{answer}");
    let shown = mgmtctl::ask(&directory, &["config", "show", "staged", "--json"]);
    assert_eq!(shown.json(0)["id"], id);
    mgmtctl::ask(&directory, &["config", "show", "ready"]).failed(64, "one is staged, and one deployed");
    controller.stop();
}
