//! What the command `enroll` asks for, and says.

use mgmt_api::operator::enrolment::{Enrolment, Enrolments, MadeEnrolment, NewEnrolment};

use crate::{
    Exit,
    client::{ClientError, part},
    commands::{Daemon, note, print, show_json},
    options::Enroll,
    status::{lines, table_of},
};

impl Daemon<'_> {
    pub(crate) async fn enroll(&self, which: &Enroll) -> Result<Exit, ClientError> {
        self.needs_controller()?;
        let Some(instance) = &which.instance else {
            let all: Enrolments = self.client.get("/v1/enrolments").await?;
            self.show(&all, &listed(&all.enrolments));
            return Ok(Exit::Done);
        };
        if which.revoke {
            let path = format!("/v1/enrolments/{}", part(instance));
            let revoked: Enrolment = self.client.delete(&path).await?;
            self.show(
                &revoked,
                &format!("the enrolment token for {instance} is revoked\n"),
            );
            return Ok(Exit::Done);
        }
        let new = NewEnrolment {
            instance: instance.clone(),
            seconds: which.expires,
            url: which.url.clone(),
        };
        let made: MadeEnrolment = self.client.post("/v1/enrolments", &new).await?;
        if self.options.json {
            show_json(&made);
        } else {
            print(&format!("{}\n", made.token));
            note(&format!(
                "this enrols instance {instance}, once, until {}; it is not shown again. On its host: mgmt-agent enroll -\n",
                made.enrolment.expires
            ));
        }
        Ok(Exit::Done)
    }
}

fn listed(enrolments: &[Enrolment]) -> String {
    if enrolments.is_empty() {
        return "no enrolment is pending\n".to_owned();
    }
    let mut table = table_of(["INSTANCE", "CREATED", "EXPIRES"]);
    for enrolment in enrolments {
        table.add_row([&enrolment.instance, &enrolment.created, &enrolment.expires]);
    }
    lines(&table)
}
