//! Agents of older releases: what their API lacks is answered in their place, and what they lose they are given again.

use broker_codec::data::ZeekString;
use mgmt_api::{AgentMessage, AgentRequest, Configuration, Dialect, ResultRecord};

/// What has to be known of the API that a peer speaks as an agent.
#[derive(Debug, Default)]
pub(super) struct Api {
    /// As the peer has shown. 4.1 is taken for 4.2.
    dialect: Dialect,
    /// The id of the last welcome, which the peer has not answered.
    welcome: Option<ZeekString>,
    /// Whether the peer has ignored a welcome.
    ignores_welcomes: bool,
    /// Whether the peer has said hello,
    greeted: bool,
    /// and more than once.
    greeted_again: bool,
    /// The configuration that the peer got after its first hello, until its second.
    first_configuration: Option<AgentRequest>,
}

impl Api {
    /// 4.1 and 4.2 say the same hello, but 4.1 does not know the welcome, which is repeated while it is not answered.
    fn dialect(&self) -> Dialect {
        match self.dialect {
            Dialect::V4_2 if self.ignores_welcomes => Dialect::V4_1,
            dialect => dialect,
        }
    }

    /// The peer has said something in this dialect. Returns what it gets because of that.
    ///
    /// DIFFERENCE(second-hello): agents up to commit 54aaf3a623 say hello for each peer that they get, the controller and their Supervisor. What
    /// they are given after the first hello is lost when that was for the controller, and they call it a success; so they get it again after
    /// the second. Zeek's controller of that age does not, and no node runs.
    pub(super) fn heard(&mut self, dialect: Dialect, message: &AgentMessage) -> Option<AgentRequest> {
        self.dialect = dialect;
        match message {
            AgentMessage::AgentWelcome { .. } => {
                self.welcome = None;
                self.ignores_welcomes = false;
            }
            AgentMessage::AgentStandby { .. } => self.ignores_welcomes = false,
            AgentMessage::Hello { .. } if dialect < Dialect::V5_0Rc1 => {
                self.greeted_again = std::mem::replace(&mut self.greeted, true);
                if self.greeted_again {
                    return self.first_configuration.take();
                }
            }
            _ => {}
        }
        None
    }

    /// What the peer, the agent of this instance, is sent for a request, and the answer in its place if its API lacks the request.
    pub(super) fn ask(
        &mut self,
        instance: &ZeekString,
        request: AgentRequest,
    ) -> (Option<AgentRequest>, Option<AgentMessage>) {
        if self.dialect >= Dialect::V5_0 {
            return (Some(request), None);
        }
        if let AgentRequest::AgentWelcome { reqid } = &request {
            self.ignores_welcomes |= self.welcome.replace(reqid.clone()).as_ref() == Some(reqid);
        }
        let dialect = self.dialect();
        let of_instance = |result| ResultRecord {
            instance: Some(instance.clone()),
            ..result
        };
        let success = |reqid: &ZeekString| of_instance(ResultRecord::success(reqid.clone()));
        let lacking = |reqid: &ZeekString, what: &str| {
            let release = dialect.release();
            let error = format!("instance {instance} runs the agent of {release}, which cannot {what}");
            of_instance(ResultRecord::failure(reqid.clone(), error))
        };
        let mut sent = None;
        let result = match &request {
            AgentRequest::AgentWelcome { reqid } if dialect == Dialect::V4_1 => {
                self.welcome = None;
                success(reqid)
            }
            AgentRequest::AgentStandby { reqid } => {
                self.first_configuration = None;
                if dialect != Dialect::V4_1 {
                    return (Some(request), None);
                }
                // What 4.1 does with agents that it drops (`controller/main.zeek`, `drop_instance`).
                sent = Some(AgentRequest::Deploy {
                    reqid: ZeekString::default(),
                    config: Configuration::default().into(),
                    force: false,
                });
                success(reqid)
            }
            AgentRequest::GetNodes { reqid } if dialect <= Dialect::V4_2 => lacking(reqid, "list its nodes"),
            AgentRequest::NodeDispatch { reqid, .. } if dialect < Dialect::V5_0Rc1 => {
                lacking(reqid, "read variables")
            }
            AgentRequest::Restart { reqid, .. } => lacking(reqid, "restart nodes"),
            AgentRequest::Deploy { .. } if dialect < Dialect::V5_0Rc1 && !self.greeted_again => {
                self.first_configuration = Some(request.clone());
                return (Some(request), None);
            }
            _ => return (Some(request), None),
        };
        (sent, Some(AgentMessage::answer(&request, result)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> AgentMessage {
        AgentMessage::Hello {
            instance: "a".into(),
            id: "id".into(),
            connecting: false,
            api_version: 1,
        }
    }

    fn success(reqid: &str) -> ResultRecord {
        ResultRecord {
            instance: Some("a".into()),
            ..ResultRecord::success(reqid.into())
        }
    }

    fn welcomed(reqid: &str) -> AgentMessage {
        let (reqid, result) = (reqid.into(), success(reqid));
        AgentMessage::AgentWelcome { reqid, result }
    }

    fn welcome(reqid: &str) -> AgentRequest {
        AgentRequest::AgentWelcome { reqid: reqid.into() }
    }

    fn standby() -> AgentRequest {
        AgentRequest::AgentStandby { reqid: "".into() }
    }

    fn deploy(reqid: &str) -> AgentRequest {
        AgentRequest::Deploy {
            reqid: reqid.into(),
            config: Configuration::default().into(),
            force: false,
        }
    }

    fn greeted() -> Api {
        let mut api = Api::default();
        assert_eq!(api.heard(Dialect::V4_2, &hello()), None);
        api
    }

    fn ask(api: &mut Api, request: AgentRequest) -> (Option<AgentRequest>, Option<AgentMessage>) {
        api.ask(&"a".into(), request)
    }

    #[test]
    fn an_agent_that_ignores_a_repeated_welcome_is_one_of_4_1() {
        let mut api = greeted();
        let sent = |reqid| (Some(welcome(reqid)), None);
        assert_eq!(ask(&mut api, welcome("1")), sent("1"));
        // Another one, after it had answered.
        api.heard(Dialect::V4_2, &welcomed("1"));
        assert_eq!(ask(&mut api, welcome("1")), sent("1"));
        assert_eq!(api.dialect(), Dialect::V4_2);

        assert_eq!(ask(&mut api, welcome("1")), (None, Some(welcomed("1"))));
        assert_eq!(api.dialect(), Dialect::V4_1);
        assert_eq!(ask(&mut api, welcome("2")), (None, Some(welcomed("2"))));
        let (reqid, result) = ("".into(), success(""));
        let stood_by = AgentMessage::AgentStandby { reqid, result };
        assert_eq!(ask(&mut api, standby()), (Some(deploy("")), Some(stood_by)));

        // It was only slow.
        api.heard(Dialect::V4_2, &welcomed("1"));
        assert_eq!(api.dialect(), Dialect::V4_2);
    }

    /// E8: its first hello was for us, the second for its Supervisor, without which it loses what it is given.
    #[test]
    fn an_agent_that_says_hello_again_gets_the_configuration_again_that_it_got_after_the_first() {
        let mut api = greeted();
        for reqid in ["1", "2"] {
            assert_eq!(ask(&mut api, deploy(reqid)), (Some(deploy(reqid)), None));
        }
        let (reqid, results) = ("2".into(), vec![success("2")]);
        assert_eq!(
            api.heard(Dialect::V4_2, &AgentMessage::Deploy { reqid, results }),
            None
        );
        assert_eq!(api.heard(Dialect::V4_2, &hello()), Some(deploy("2")));

        // Once is enough: its Supervisor does not come twice.
        ask(&mut api, deploy("3"));
        assert_eq!(api.heard(Dialect::V4_2, &hello()), None);
    }

    #[test]
    fn an_agent_that_was_stood_down_gets_no_configuration_again() {
        let mut api = greeted();
        ask(&mut api, deploy("1"));
        ask(&mut api, standby());
        assert_eq!(api.heard(Dialect::V4_2, &hello()), None);
    }
}
