//! The commands and settings of docs/secure.md, as they stand there.

use std::fs;

use super::{Hub, Sensor};
use crate::{
    documented::blocks::{self, Block},
    support::{controller::binary, limit::Limit, program, workspace_root},
};

#[test]
fn the_commands_of_the_page_about_enrolment_do_what_it_says() {
    let page = fs::read_to_string(workspace_root().join("docs/secure.md")).expect("it is there");
    let (_, section) = page
        .split_once("## Enrolment\n")
        .expect("the page has this heading");
    let (section, _) = section.split_once("\n## ").expect("and another one");
    let (mut hub, sensor, mut agent) = (Hub::new(), Sensor::new(), None);
    let settings = section
        .split("```")
        .nth(1)
        .and_then(|block| block.strip_prefix("toml\n"));
    let file = hub.home.path().join("controller.toml");
    fs::write(&file, settings.expect("settings")).expect("it can be written");
    let options = ["dump-config", "--config", "controller.toml"];
    let dump = program::run(binary(), hub.home.path(), &options);
    assert!(dump.printed().contains("roles = \"* agent\";"), "{dump:?}");

    let mut blocks = blocks::all().into_iter();
    let block = blocks.find(|block| block.page == "docs/secure.md" && block.text.contains("mgmtctl enroll"));
    let commands = Block::commands(&block.expect("it is there").text);
    assert_eq!(commands.len(), 6, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.line.split(' ').collect();
        match words[..] {
            ["systemctl", "restart", "mgmt-controller"] => hub.start("365days"),
            ["systemctl", "restart", "mgmt-agent"] => agent = Some(sensor.start()),
            ["mgmtctl", "enroll", instance, ">", file] => {
                let token = hub.mgmtctl(&["enroll", instance]);
                fs::write(hub.home.path().join(file), token.printed()).expect("it can be written");
            }
            ["scp", file, _] => {
                let (from, to) = (hub.home.path().join(file), sensor.home.path().join(file));
                fs::copy(from, to).expect("it can be copied");
            }
            ["mgmt-agent", "enroll", "-", "<", file] => {
                let token = fs::read_to_string(sensor.home.path().join(file)).expect("it was copied");
                sensor.enrol(&token, &[]).printed();
            }
            ["mgmtctl", "instances"] => Limit::new("the instance").poll(|| {
                let instances = hub.mgmtctl(&["instances"]).stdout;
                instances.contains("\nsensor1   no        yes").then_some(())
            }),
            _ => panic!("{command:?}"),
        }
    }
    agent.expect("it was started").stop();
    hub.stop();
}
