//! The subcommand `enroll`. It ends with 0 if the host is enrolled, with 1 if not, with 3 if the controller cannot be reached, and with 64 for a
//! wrong command line.

use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

use broker_endpoint::with_causes;
use clap::ArgMatches;
use mgmt_api::operator::enrolment::{CertificateRequest, EnrolmentToken, can_be_enrolled};
use mgmt_daemon::{
    config::Origin, error::HostError, owner::become_owner, process::block_on, program::complain,
};

use super::{
    EnrolmentLockError, Place,
    ask::{self, AskError},
    options::TOKEN,
};
use crate::config::{Config, SCHEMA};

/// More than any token has, in bytes.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

const CANNOT_TELL: u8 = 3;
const USAGE: u8 = 64;

/// The host is not enrolled.
#[derive(Debug, thiserror::Error)]
enum EnrolError {
    #[error("{0}")]
    Token(String),
    #[error(
        "the token is for instance {token}, and this agent is called {name}: leave the setting name out, or have a token made for {name}"
    )]
    OtherName { token: String, name: String },
    #[error("cannot write in {directory}")]
    Files { directory: String, source: io::Error },
    #[error(transparent)]
    Lock(#[from] EnrolmentLockError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Carries it out.
pub(crate) fn run(config: &Config, given: &ArgMatches) -> ExitCode {
    let token = given.get_one::<String>(TOKEN).map_or("", String::as_str);
    let text = match enrol(config, token) {
        Ok(text) => text,
        Err(error) => {
            complain(&SCHEMA.program(), &format!("error: {}", with_causes(&error)));
            return ExitCode::from(match error {
                EnrolError::Token(_) => USAGE,
                EnrolError::Ask(AskError::Unreachable { .. }) => CANNOT_TELL,
                _ => 1,
            });
        }
    };
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Returns what the operator hears.
fn enrol(config: &Config, token: &str) -> Result<String, EnrolError> {
    let token: EnrolmentToken = read(token)?;
    let EnrolmentToken { enrolled, secret } = &token;
    let name = config.daemon.resolved.shown("name");
    let is_given = name.is_some_and(|name| !matches!(name.origin, Origin::Default | Origin::Enrolment(_)));
    if is_given && config.daemon.name != enrolled.name {
        return Err(EnrolError::OtherName {
            token: enrolled.name.clone(),
            name: config.daemon.name.clone(),
        });
    }
    let place = Place::below(&config.daemon.state_dir);
    let directory = place.0.display().to_string();
    let failed = |source: io::Error| EnrolError::Files {
        directory: directory.clone(),
        source,
    };
    become_owner([&*place.0]).map_err(failed)?;
    place.make().map_err(failed)?;
    let _lock = place.lock()?;
    place.resume().map_err(failed)?;
    let key = place.next_key().map_err(failed)?;
    let request = key.request(&enrolled.name);
    let asked = CertificateRequest {
        request: request.map_err(|error| failed(io::Error::other(error)))?,
        renews: None,
    };
    let issued = block_on(async {
        let issued = ask::certificate(enrolled, &key, Some(secret), &asked).await;
        issued.map_err(EnrolError::from)
    })?;
    place.install(&issued).map_err(failed)?;
    place.enrol(enrolled).map_err(failed)?;
    Ok(format!(
        "this host is instance {} of the controller at {}: its certificate is in {directory}, and the agent renews it; start the agent, or restart it\n",
        enrolled.name, enrolled.url
    ))
}

/// Reads the token, from standard input if it is `-`.
fn read(token: &str) -> Result<EnrolmentToken, EnrolError> {
    let mut text = token.to_owned();
    if token == "-" {
        text.clear();
        let read = io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| EnrolError::Token(format!("cannot read the token: {error}")))?;
    }
    let token: EnrolmentToken = text
        .parse()
        .map_err(|error| EnrolError::Token(format!("{error}")))?;
    if !can_be_enrolled(&token.enrolled.name) {
        let reason = "the token is for an instance of a name that none can have that is enrolled";
        return Err(EnrolError::Token(reason.to_owned()));
    }
    Ok(token)
}
