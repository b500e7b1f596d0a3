//! The control socket: where it is, and which group of the host may use it.

use std::path::{Path, PathBuf};

use mgmt_api::access::{Grant, Role};
use nix::unistd::Group;

use super::resolver::Resolver;

#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// Absolute.
    pub path: PathBuf,
    /// Who may use it besides the daemon's user and root.
    pub group: Option<SocketGroup>,
}

#[cfg(test)]
impl SocketConfig {
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            group: None,
        }
    }
}

/// A group of users of the host, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketGroup {
    pub gid: u32,
    role: Role,
}

impl SocketGroup {
    pub fn grant(&self) -> Grant {
        Grant::of(self.role, None)
    }
}

impl Resolver<'_> {
    pub(super) fn control_socket(&mut self, working_dir: &Path) -> SocketConfig {
        SocketConfig {
            path: self
                .file("control_socket")
                .unwrap_or_else(|| working_dir.join("control.sock")),
            group: self.socket_group(),
        }
    }

    fn socket_group(&mut self) -> Option<SocketGroup> {
        let key = "control_socket_group";
        let text = self.given_text(key);
        self.show(key, &text.clone().unwrap_or_default());
        match group(&text?) {
            Ok(group) => Some(group),
            Err(reason) => {
                self.refuse(key, reason);
                None
            }
        }
    }
}

fn group(text: &str) -> Result<SocketGroup, String> {
    let wrong = || {
        format!("{text:?} is not GROUP ROLE, as in \"operators read\"; the roles are read, deploy and admin")
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [name, role] = words[..] else {
        return Err(wrong());
    };
    let role = role.parse().map_err(|_| wrong())?;
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(SocketGroup {
            gid: group.gid.as_raw(),
            role,
        }),
        Ok(None) => Err(format!(
            "this host has no group {name:?}: make it, as by groupadd"
        )),
        Err(error) => Err(format!("the group {name:?} cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_the_host_has_a_role() {
        let found = group(" root  deploy ").unwrap();
        assert_eq!((found.gid, found.role), (0, Role::Deploy));
        for (wrong, reason) in [
            ("root", "is not GROUP ROLE"),
            ("root agent", "is not GROUP ROLE"),
            ("root read lab", "is not GROUP ROLE"),
            ("no-such-group read", "has no group"),
        ] {
            let refusal = group(wrong).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}
