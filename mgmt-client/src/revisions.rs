//! What commands about revisions ask for, and say.

use mgmt_api::operator::{ConfigurationFile, Revision, RevisionSummary, Revisions, counted, diff};

use crate::{
    Exit,
    client::{ClientError, part},
    commands::Daemon,
    deploy::{can_ask, is_wanted, shown_id},
    options::RevisionsCommand,
    status::{lines, or_dash, table_of},
};

impl Daemon<'_> {
    pub(crate) async fn revisions_command(&self, command: &RevisionsCommand) -> Result<Exit, ClientError> {
        match command {
            RevisionsCommand::History => self.history().await,
            RevisionsCommand::Show { revision } => self.show_revision(revision).await,
            RevisionsCommand::Diff { old, new } => self.diff_revisions(old, new.as_deref()).await,
            RevisionsCommand::Rollback { revision, yes, note } => {
                self.roll_back(revision.as_deref(), *yes, note.clone()).await
            }
        }
    }

    pub(crate) async fn revisions(&self) -> Result<Revisions, ClientError> {
        self.client.get(&self.path_of_cluster("revisions")?).await
    }

    async fn revision(&self, number: &str) -> Result<Revision, ClientError> {
        let path = self.path_of_cluster(&format!("revisions/{}", part(number)))?;
        self.client.get(&path).await
    }

    async fn history(&self) -> Result<Exit, ClientError> {
        let all = self.revisions().await?;
        self.show(&all, &in_words(&all));
        Ok(Exit::Done)
    }

    async fn show_revision(&self, number: &str) -> Result<Exit, ClientError> {
        let revision = self.revision(number).await?;
        self.show_as_file(&revision, &revision.content);
        Ok(Exit::Done)
    }

    async fn diff_revisions(&self, old: &str, new: Option<&str>) -> Result<Exit, ClientError> {
        let old = self.revision(old).await?.content;
        let new = match new {
            Some(new) => self.revision(new).await?.content,
            None => self.deployed().await?.unwrap_or_default(),
        };
        let differences = diff::between(&old, &new);
        self.show(&differences, &diff::in_words(&differences, &new));
        Ok(Exit::Done)
    }

    /// Deploys what an earlier revision has, in place of what is deployed now.
    async fn roll_back(
        &self,
        number: Option<&str>,
        yes: bool,
        note: Option<String>,
    ) -> Result<Exit, ClientError> {
        if !yes && !can_ask() {
            return Err(ClientError::Usage(
                "rollback asks before it begins, and there is no terminal to ask on: look with `mgmtctl diff`, and say --yes",
            ));
        }
        let number = match number {
            Some(number) => number.to_owned(),
            None => earlier(&self.revisions().await?)?.to_string(),
        };
        let Revision { summary, content } = self.revision(&number).await?;
        let deployed = self.deployed().await?;
        let differences = diff::between(&deployed.clone().unwrap_or_default(), &content);
        let number = summary.revision;
        if differences.is_empty() && deployed.is_some() {
            let text = format!("nothing to do: what is deployed does not differ from revision {number}\n");
            self.show(&summary, &text);
            return Ok(Exit::Done);
        }
        let differences = diff::in_words(&differences, &content);
        self.tell(&format!(
            "{}:\n{differences}",
            goes_back(&summary, deployed.as_ref())
        ));
        if !yes && !is_wanted(&format!("Deploy revision {number} again?")) {
            self.tell("NOT deployed: nothing was changed\n");
            return Ok(Exit::Failed);
        }
        self.stage_after(deployed.as_ref(), &content).await?;
        let note = note.unwrap_or_else(|| format!("rollback to revision {number}"));
        self.deploy_staged(deployed.as_ref(), Some(note)).await
    }
}

/// The number of the last revision before the deployed one that says something else.
fn earlier(all: &Revisions) -> Result<u32, ClientError> {
    let mut revisions = all.revisions.iter();
    // What is deployed without a number came after all that have one.
    let deployed = all.deployed_revision.and_then(|_| revisions.next());
    let mut others =
        revisions.filter(|earlier| deployed.is_none_or(|deployed| deployed.checksum != earlier.checksum));
    let earlier = others.next().map(|earlier| earlier.revision);
    earlier.ok_or_else(|| {
        let reason =
            "there is no earlier revision that differs from what is deployed: look at `mgmtctl history`";
        ClientError::NoRevision(reason.to_owned())
    })
}

/// Which revision takes the place of what.
fn goes_back(summary: &RevisionSummary, deployed: Option<&ConfigurationFile>) -> String {
    let RevisionSummary {
        revision,
        configuration,
        time,
        ..
    } = summary;
    let time = time
        .as_ref()
        .map_or_else(String::new, |time| format!(" of {time}"));
    let place = deployed.map_or_else(
        || "nothing is deployed".to_owned(),
        |deployed| format!("configuration {} is deployed", shown_id(deployed)),
    );
    format!("revision {revision}{time} has configuration {configuration}, {place}")
}

/// The revisions, and what is deployed.
fn in_words(all: &Revisions) -> String {
    let mut table = table_of(["REVISION", "DEPLOYED", "CONFIGURATION", "ASKED BY", "NOTE"]);
    for summary in &all.revisions {
        let RevisionSummary {
            revision,
            configuration,
            time,
            asked_by,
            note,
            ..
        } = summary;
        let unknown = |told: &Option<String>| told.clone().unwrap_or_else(|| "not known".to_owned());
        table.add_row([
            revision.to_string(),
            unknown(time),
            configuration.clone(),
            unknown(asked_by),
            or_dash(note.clone()),
        ]);
    }
    let kept = counted(all.revisions.len(), "revision");
    let sum = match (&all.deployed, all.deployed_revision) {
        (None, _) if all.revisions.is_empty() => "nothing has been deployed\n".to_owned(),
        (None, _) => format!("nothing is deployed, of {kept}\n"),
        (Some(id), Some(number)) => format!("revision {number} is deployed, of {kept}: configuration {id}\n"),
        (Some(id), None) => format!(
            "configuration {id} is deployed, and has no number yet: it gets one when another one is deployed; {kept} before it\n"
        ),
    };
    if all.revisions.is_empty() {
        return sum;
    }
    lines(&table) + &sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(checksums: &[&str], deployed_revision: Option<u32>) -> Revisions {
        let count = u32::try_from(checksums.len()).expect("a few");
        let summary = |(number, checksum): (u32, &&str)| RevisionSummary {
            revision: number,
            configuration: format!("c{number}"),
            checksum: (*checksum).to_owned(),
            is_deployed: Some(number) == deployed_revision,
            ..RevisionSummary::default()
        };
        Revisions {
            deployed: Some("c".to_owned()),
            deployed_revision,
            revisions: (1..=count).rev().zip(checksums).map(summary).collect(),
        }
    }

    #[test]
    fn one_goes_back_to_the_last_revision_that_differs() {
        for (checksums, deployed, expected) in [
            (&["b", "a"][..], Some(2), Some(1)),
            (&["b", "b", "b", "a", "b"], Some(5), Some(2)),
            // What has no number yet came after the last one.
            (&["b", "a"], None, Some(2)),
            (&["b", "b"], Some(2), None),
            (&["b"], Some(1), None),
            (&[], None, None),
        ] {
            let all = revisions(checksums, deployed);
            let found = earlier(&all);
            match expected {
                Some(expected) => assert_eq!(found.expect("there is one"), expected, "{checksums:?}"),
                None => assert_eq!(found.expect_err("there is none").exit(), Exit::Failed),
            }
        }
    }

    #[test]
    fn the_last_line_says_what_is_deployed() {
        let last = |all: &Revisions| in_words(all).lines().last().map(str::to_owned);
        assert_eq!(
            last(&revisions(&["b", "a"], Some(2))).as_deref(),
            Some("revision 2 is deployed, of 2 revisions: configuration c")
        );
        assert_eq!(
            last(&revisions(&["a"], None)).as_deref(),
            Some(
                "configuration c is deployed, and has no number yet: it gets one when another one is deployed; 1 revision before it"
            )
        );
        assert_eq!(in_words(&Revisions::default()), "nothing has been deployed\n");
    }
}
