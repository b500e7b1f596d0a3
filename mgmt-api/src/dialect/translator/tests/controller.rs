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
    assert!(sets_configuration(&set));
    assert_eq!(
        incoming(&mut translator, OLD_CONTROLLER, set),
        to_model(CONTROLLER, of(&stage))
    );
    assert_eq!(translator.dialect(), Dialect::V4_2);
    let mut answers = Answers::new(translator.dialect());
    answers.set_configuration("r".into());
    // The same once more has the same answer.
    answers.set_configuration("r".into());
    let mut heard = |response: &ClientResponse| {
        let said = answers.say(&Topics::default(), CONTROLLER.as_bytes(), &of(response));
        said.unwrap()
    };

    let staged = |reqid: &str, result| ClientResponse::StageConfiguration {
        reqid: reqid.into(),
        results: vec![result],
    };
    let deployed = |reqid: &str, results| ClientResponse::Deploy {
        reqid: reqid.into(),
        results,
    };
    let id = ResultRecord {
        data: Some(text("c1")),
        ..success("r")
    };
    assert_eq!(heard(&staged("of another", id.clone())), None);
    assert_eq!(heard(&deployed("of another", vec![])), None);
    assert_eq!(heard(&staged("r", id.clone())), None);

    let of_node = |node: &str, result| ResultRecord {
        node: Some(node.into()),
        ..of_agent(result)
    };
    let results = vec![
        of_node("w", success("child")),
        of_node("x", ResultRecord::failure("child".into(), "why not")),
        ResultRecord {
            instance: Some("b".into()),
            ..success("child")
        },
        id,
    ];
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
        heard(&deployed("r", results.clone())),
        Some(published(OLD_CONTROLLER, answer))
    );
    assert_eq!(heard(&deployed("r", results)), None, "once");
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
