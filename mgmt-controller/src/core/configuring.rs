//! What operators ask of the cluster's configurations.

use broker_codec::data::ZeekString;
use mgmt_api::{
    ClientRequest, Level, MESSAGE_BYTES_MAX, Principal, ResultRecord,
    operator::{
        ConfigurationFile, Expected, NotDone, NotDoneKind, Staged, Station, entity_tag, text, written,
    },
};

use super::{cluster::Cluster, configurations::Slot, turn::Turn};

impl Cluster {
    /// The staged or the deployed configuration, as a client is shown it.
    pub(super) fn configuration(&self, station: Station) -> Result<ZeekString, NotDone> {
        let slot = match station {
            Station::Staged => Slot::Staged,
            Station::Deployed => Slot::Deployed,
        };
        let config = self.configurations.get(slot);
        let config = config
            .ok_or_else(|| NotDone::new(NotDoneKind::Unknown, format!("no configuration is {station}")))?;
        written(&ConfigurationFile::from(config))
    }

    /// Whether what an operator takes to be deployed is.
    pub(super) fn is_as_expected(&self, expected: Option<&Expected>) -> Result<(), NotDone> {
        let deployed = self.configurations.deployed.as_ref().map(|config| &config.id);
        let is = deployed.map_or("nothing is deployed".into(), |id| {
            format!("configuration {id} is deployed")
        });
        let Some(expected) = expected else {
            let reason = format!(
                "{is}: say what the change rests on, by If-Match with that configuration's entity tag, or by If-None-Match: * if nothing is deployed"
            );
            return Err(NotDone::new(NotDoneKind::NothingExpected, reason));
        };
        let is_expected = match (expected, deployed) {
            (Expected::Nothing, None) => true,
            (Expected::Tag(tag), Some(id)) => *tag == entity_tag(id),
            _ => false,
        };
        if is_expected {
            return Ok(());
        }
        let reason =
            format!("{is}, and not what the change rests on: look at what is deployed now, and try again");
        Err(NotDone::new(NotDoneKind::NotAsExpected, reason))
    }

    /// Stages a configuration as for a client, under a new id: what operators expect to be deployed is told by it.
    pub(super) fn stage_of_operator(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        configuration: ConfigurationFile,
    ) {
        let reqid = turn.ids.next_id();
        let config = configuration.into_configuration(turn.ids.next_id());
        turn.report(
            Level::Info,
            format!("stages configuration {}, as {principal} wants", config.id),
        );
        self.operators.insert(reqid.clone(), id);
        self.request(
            turn,
            principal,
            ClientRequest::StageConfiguration { reqid, config },
            false,
        );
    }
}

/// What an operator is told of a configuration that says something wrong.
pub(super) fn invalid(errors: &[ZeekString]) -> NotDone {
    NotDone {
        errors: errors.iter().map(text).collect(),
        ..NotDone::new(NotDoneKind::Invalid, "the configuration cannot be staged")
    }
}

/// What an operator is told of a configuration that is stored, or could not be.
pub(super) fn staged(results: &[ResultRecord]) -> Result<ZeekString, NotDone> {
    let result = results.first();
    if let Some(broker_codec::Data::String(id)) = result.and_then(|result| result.data.as_ref()) {
        return written(&Staged { id: text(id) });
    }
    let error = result.and_then(|result| result.error.as_ref());
    let reason = error.map(|error| error.excerpt(MESSAGE_BYTES_MAX).to_string());
    let reason = reason.unwrap_or_default();
    Err(NotDone::new(NotDoneKind::Unavailable, reason))
}
