use super::*;

#[test]
fn an_agents_controller_of_old_is_answered_at_once_and_hears_of_failures_later() {
    let mut translator = translator(Side::Agent);
    let set = |reqid: &str| {
        event(
            "ClusterAgent::API::set_configuration_request",
            [text(reqid), old_config()],
        )
    };
    let deploy = |reqid: &str| AgentRequest::Deploy {
        reqid: reqid.into(),
        config: without_metrics_port(),
        force: false,
    };
    let answer = |reqid: &str, success, error| {
        let mut result = old_result(reqid, "a", success, error);
        // Its controller reads the node of a failure without asking.
        if let (false, Data::Vector(fields)) = (success, &mut result) {
            fields[5] = text("");
        }
        event(
            "ClusterAgent::API::set_configuration_response",
            [text(reqid), result],
        )
    };
    assert_eq!(
        incoming(&mut translator, OLD_AGENT, set("1")),
        to_model(AGENT, of(&deploy("1")))
    );
    assert_eq!(
        translator.settle().unwrap(),
        [published(OLD_AGENT, answer("1", true, ""))]
    );
    assert_eq!(translator.settle().unwrap(), [], "once");
    let outputs = NodeOutputs {
        stdout: "".into(),
        stderr: "why".into(),
    };
    let deployed = |results| AgentMessage::Deploy {
        reqid: "1".into(),
        results,
    };
    let late = deployed(vec![
        of_agent(ResultRecord::failure("1".into(), "request timed out")),
        of_node("v", success("1")),
        ResultRecord {
            success: false,
            data: to_data(&outputs).ok(),
            ..of_node("w", success("1"))
        },
    ]);
    assert_eq!(
        outgoing(&mut translator, AGENT, &late),
        to_peer(
            OLD_AGENT,
            event(
                "ClusterAgent::API::notify_error",
                [text("a"), text("node w did not come up"), text("w")]
            )
        )
    );

    // One that fails before anything is done is a failure.
    incoming(&mut translator, OLD_AGENT, set("1"));
    let refused = deployed(vec![of_agent(ResultRecord::failure("1".into(), "no Supervisor"))]);
    assert_eq!(
        outgoing(&mut translator, AGENT, &refused),
        to_peer(OLD_AGENT, answer("1", false, "no Supervisor"))
    );
    assert_eq!(translator.settle().unwrap(), []);

    // Without an id the controller does not wait for an answer.
    assert_eq!(
        incoming(&mut translator, OLD_AGENT, set("")),
        to_model(AGENT, of(&deploy("")))
    );
    assert_eq!(translator.settle().unwrap(), []);
    let to_no_request = AgentMessage::Deploy {
        reqid: "".into(),
        results: vec![],
    };
    assert_eq!(
        outgoing(&mut translator, AGENT, &to_no_request),
        Translation::default()
    );
}

#[test]
fn an_agent_says_hello_so_that_controllers_of_4_x_and_since_5_0_understand() {
    let hello = AgentMessage::Hello {
        instance: "a".into(),
        id: "3a53339e-9528-56fa-9dce-a25ad55f88a3".into(),
        connecting: true,
        api_version: 1,
    };
    let host = Data::Address("192.0.2.7".parse().unwrap());
    let old = |module: &str| {
        let name = format!("{module}::API::notify_agent_hello");
        event(&name, [text("a"), host.clone(), Data::Count(1)])
    };
    let mut unheard = translator(Side::Agent);
    assert_eq!(
        outgoing(&mut unheard, AGENT, &hello).to_peer,
        [
            published(AGENT, of(&hello)),
            published(OLD_AGENT, old("ClusterAgent"))
        ]
    );
    unheard.dialect = Dialect::Seed;
    assert_eq!(
        outgoing(&mut unheard, AGENT, &hello).to_peer,
        [
            published(AGENT, old("Management::Agent")),
            published(OLD_AGENT, old("ClusterAgent"))
        ]
    );
    let mut heard = translator(Side::Agent);
    let standby = event("ClusterAgent::API::agent_standby_request", [text("")]);
    incoming(&mut heard, OLD_AGENT, standby);
    assert_eq!(
        outgoing(&mut heard, AGENT, &hello).to_peer,
        [published(OLD_AGENT, old("ClusterAgent"))]
    );
}
