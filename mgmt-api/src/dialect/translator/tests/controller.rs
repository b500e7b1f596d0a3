use super::*;

#[test]
fn setting_a_configuration_is_staging_and_deploying() {
    let mut translator = translator(Side::Controller);
    let nothing = list([text("c1"), Data::Set([].into()), Data::Set([].into())]);
    let set = event(
        "ClusterController::API::set_configuration_request",
        [text("r"), nothing],
    );
    let stage = ClientRequest::StageConfiguration {
        reqid: "r".into(),
        config: Configuration::new("c1", [], []),
    };
    assert_eq!(
        incoming(&mut translator, OLD_CONTROLLER, set.clone()),
        to_model(CONTROLLER, of(&stage))
    );
    assert_eq!(translator.dialect(), Dialect::V4_2);
    // The same once more has the same answer.
    assert_eq!(
        incoming(&mut translator, OLD_CONTROLLER, set),
        Translation::default()
    );

    let staged = |reqid: &str, result| ClientResponse::StageConfiguration {
        reqid: reqid.into(),
        results: vec![result],
    };
    let id = ResultRecord {
        data: Some(text("c1")),
        ..success("r")
    };
    assert_eq!(
        outgoing(&mut translator, CONTROLLER, &staged("of another", id.clone())),
        Translation::default()
    );
    let deploy = ClientRequest::Deploy { reqid: "r".into() };
    assert_eq!(
        outgoing(&mut translator, CONTROLLER, &staged("r", id.clone())),
        to_model(CONTROLLER, of(&deploy))
    );

    let of_node = |node: &str, result| ResultRecord {
        node: Some(node.into()),
        ..of_agent(result)
    };
    let deployed = ClientResponse::Deploy {
        reqid: "r".into(),
        results: vec![
            of_node("w", success("child")),
            of_node("x", ResultRecord::failure("child".into(), "why not")),
            ResultRecord {
                instance: Some("b".into()),
                ..success("child")
            },
            id,
        ],
    };
    let answer = event(
        "ClusterController::API::set_configuration_response",
        [
            text("r"),
            list([
                old_result("r", "a", false, "node x failed: why not"),
                old_result("r", "b", true, ""),
            ]),
        ],
    );
    assert_eq!(
        outgoing(&mut translator, CONTROLLER, &deployed),
        to_peer(OLD_CONTROLLER, answer)
    );
    assert_eq!(
        outgoing(&mut translator, CONTROLLER, &deployed),
        Translation::default(),
        "once"
    );
    assert!(translator.configurations.is_empty());
}

fn hello() -> Event {
    let host = Data::Address("192.0.2.9".parse().unwrap());
    event(
        "ClusterAgent::API::notify_agent_hello",
        [text("a"), host, Data::Count(1)],
    )
}

#[test]
fn agents_that_do_not_say_who_they_are_are_who_is_connected() {
    let mut translator = translator(Side::Controller);
    let expected = AgentMessage::Hello {
        instance: "a".into(),
        id: "3a53339e-9528-56fa-9dce-a25ad55f88a3".into(),
        connecting: false,
        api_version: 1,
    };
    assert_eq!(
        incoming(&mut translator, OLD_AGENT, hello()),
        to_model(AGENT, of(&expected))
    );
}

#[test]
fn an_agent_that_ignores_a_repeated_welcome_is_one_of_4_1() {
    let mut translator = translator(Side::Controller);
    incoming(&mut translator, OLD_AGENT, hello());
    let welcome = |reqid: &str| AgentRequest::AgentWelcome { reqid: reqid.into() };
    let welcomed = |reqid: &str| AgentMessage::AgentWelcome {
        reqid: reqid.into(),
        result: of_agent(success(reqid)),
    };
    let request = |reqid: &str| event("ClusterAgent::API::agent_welcome_request", [text(reqid)]);
    assert_eq!(
        outgoing(&mut translator, AGENT, &welcome("1")),
        to_peer(OLD_AGENT, request("1"))
    );
    // Another one, after it had answered.
    let answer = event(
        "ClusterAgent::API::agent_welcome_response",
        [text("1"), old_result("1", "a", true, "")],
    );
    assert_eq!(
        incoming(&mut translator, OLD_AGENT, answer.clone()),
        to_model(AGENT, of(&welcomed("1")))
    );
    assert_eq!(
        outgoing(&mut translator, AGENT, &welcome("1")),
        to_peer(OLD_AGENT, request("1"))
    );
    assert_eq!(translator.dialect(), Dialect::V4_2);

    assert_eq!(
        outgoing(&mut translator, AGENT, &welcome("1")),
        to_model(AGENT, of(&welcomed("1")))
    );
    assert_eq!(translator.dialect(), Dialect::V4_1);
    assert_eq!(
        outgoing(&mut translator, AGENT, &welcome("2")),
        to_model(AGENT, of(&welcomed("2")))
    );
    let standby = AgentRequest::AgentStandby { reqid: "".into() };
    let nothing = list([text(""), Data::Set([].into()), Data::Set([].into())]);
    assert_eq!(
        outgoing(&mut translator, AGENT, &standby),
        Translation {
            to_model: vec![published(
                AGENT,
                of(&AgentMessage::AgentStandby {
                    reqid: "".into(),
                    result: of_agent(success("")),
                })
            )],
            to_peer: vec![published(
                OLD_AGENT,
                event(
                    "ClusterAgent::API::set_configuration_request",
                    [text(""), nothing]
                )
            )],
        }
    );

    // It was only slow.
    incoming(&mut translator, OLD_AGENT, answer);
    assert_eq!(translator.dialect(), Dialect::V4_2);
}

/// E8: its first hello was for us, the second for its Supervisor, without which it loses what it is given.
#[test]
fn an_agent_that_says_hello_again_gets_the_configuration_again_that_it_got_after_the_first() {
    let mut translator = translator(Side::Controller);
    let said = incoming(&mut translator, OLD_AGENT, hello());
    assert_eq!(said.to_peer, []);
    let deploy = |reqid: &str| AgentRequest::Deploy {
        reqid: reqid.into(),
        config: Configuration::default(),
        force: false,
    };
    let first = outgoing(&mut translator, AGENT, &deploy("1"));
    let second = outgoing(&mut translator, AGENT, &deploy("2"));
    assert_ne!(first.to_peer, second.to_peer);
    let answer = event(
        "ClusterAgent::API::set_configuration_response",
        [text("2"), old_result("2", "a", true, "")],
    );
    assert_eq!(incoming(&mut translator, OLD_AGENT, answer).to_peer, []);
    let again = incoming(&mut translator, OLD_AGENT, hello());
    assert_eq!(again.to_model.len(), 1);
    assert_eq!(again.to_peer, second.to_peer);

    // Once is enough: its Supervisor does not come twice.
    outgoing(&mut translator, AGENT, &deploy("3"));
    assert_eq!(incoming(&mut translator, OLD_AGENT, hello()).to_peer, []);
}

#[test]
fn an_agent_that_was_stood_down_gets_no_configuration_again() {
    let mut translator = translator(Side::Controller);
    incoming(&mut translator, OLD_AGENT, hello());
    let config = Configuration::default();
    let deploy = AgentRequest::Deploy {
        reqid: "1".into(),
        config,
        force: false,
    };
    outgoing(&mut translator, AGENT, &deploy);
    outgoing(
        &mut translator,
        AGENT,
        &AgentRequest::AgentStandby { reqid: "".into() },
    );
    assert_eq!(incoming(&mut translator, OLD_AGENT, hello()).to_peer, []);
}
