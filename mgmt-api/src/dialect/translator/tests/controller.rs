use super::*;

fn hello() -> Event {
    let host = Data::Address("192.0.2.9".parse().unwrap());
    event(
        "ClusterAgent::API::notify_agent_hello",
        [text("a"), host, Data::Count(1)],
    )
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
