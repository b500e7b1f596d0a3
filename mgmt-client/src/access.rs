//! What commands about tokens ask for, and say; and who the daemon takes us for.

use mgmt_api::operator::{MadeToken, NewToken, Token, Tokens, Whoami};

use crate::{
    Exit,
    client::{ClientError, part},
    commands::{Daemon, note, print, show_json},
    options::TokenCommand,
    status::{lines, or_dash, table_of},
};

impl Daemon<'_> {
    pub(crate) async fn whoami(&self) -> Result<Exit, ClientError> {
        let whoami: Whoami = self.client.get("/v1/whoami").await?;
        self.show(&whoami, &format!("{}: {}\n", whoami.who, whoami.may));
        Ok(Exit::Done)
    }

    pub(crate) async fn token(&self, command: &TokenCommand) -> Result<Exit, ClientError> {
        match command {
            TokenCommand::Create { name, role, expires } => {
                let clusters: Vec<String> = self.options.clusters().map(Into::into).collect();
                let new = NewToken {
                    name: name.clone(),
                    role: *role,
                    clusters: (!clusters.is_empty()).then_some(clusters),
                    seconds: *expires,
                };
                let made: MadeToken = self.client.post("/v1/tokens", &new).await?;
                if self.options.json {
                    show_json(&made);
                } else {
                    print(&format!("{}\n", made.secret));
                    note(&format!(
                        "this is token {name}, {}; it is not shown again\n",
                        about(&made.token)
                    ));
                }
            }
            TokenCommand::List => {
                let all: Tokens = self.client.get("/v1/tokens").await?;
                self.show(&all, &listed(&all.tokens));
            }
            TokenCommand::Revoke { name } => {
                let token: Token = self.client.delete(&format!("/v1/tokens/{}", part(name))).await?;
                self.show(&token, &format!("token {name} is revoked\n"));
            }
        }
        Ok(Exit::Done)
    }
}

/// The role, where it counts, and until when.
fn about(token: &Token) -> String {
    let end = token.expires.as_deref().unwrap_or("revoked");
    format!("{} in {}, until {end}", token.role, places(token))
}

fn places(token: &Token) -> String {
    match &token.clusters {
        None => "all clusters".to_owned(),
        Some(clusters) => clusters.join(", "),
    }
}

fn listed(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "there are no tokens\n".to_owned();
    }
    let mut table = table_of(["TOKEN", "ROLE", "CLUSTERS", "CREATED", "EXPIRES"]);
    for token in tokens {
        let expires = or_dash(token.expires.clone());
        table.add_row([
            token.name.clone(),
            token.role.to_string(),
            places(token),
            token.created.clone(),
            expires,
        ]);
    }
    lines(&table)
}
