//! How nodes are started without a Supervisor of Zeek's.

use std::{
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
};

use broker_codec::data::ZeekString;
use broker_endpoint::tls::TlsConfig;
use mgmt_daemon::config::{DaemonConfig, Resolver};

use super::{
    keeping::Keeping,
    policy,
    supervisor::{stand_in_arguments, this_program},
    zeek::InstalledZeek,
};
use crate::core::{LaunchSettings, Supervise};

/// What a node has of the agent's environment.
const INHERITED: [&str; 2] = ["LANG", "TZ"];

/// Where programs are that scripts start, besides Zeek's own.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All but where the agent listens.
pub(super) fn launch(
    resolver: &mut Resolver<'_>,
    keeping: Keeping,
    zeek: &InstalledZeek,
    daemon: &DaemonConfig,
    log_queue: &Path,
) -> LaunchSettings {
    let prefix = resolver.installation().prefix;
    let (this, leading) = if keeping.is_simulation {
        (this_program(resolver), stand_in_arguments())
    } else {
        (None, Vec::new())
    };
    let program = this.or_else(|| zeek.program.clone());
    let program = program.unwrap_or_else(|| prefix.join("bin/zeek"));
    let programs = program.parent().unwrap_or(&prefix).display();
    let environment = resolver.environment();
    let variables = INHERITED.iter().filter_map(|name| {
        let value = environment.get(name)?;
        Some(((*name).into(), value.into()))
    });
    let site_scripts: String = resolver.take("site_scripts");
    LaunchSettings {
        agent_name: daemon.name.as_str().into(),
        limits_memory: keeping.supervise == Supervise::Systemd,
        program: bytes(&program),
        leading_arguments: leading.into_iter().map(ZeekString::from).collect(),
        version: zeek.version.clone(),
        script_path: script_path(&prefix).into(),
        path: format!("{programs}:{SYSTEM_PATH}").into(),
        inherited: variables.collect(),
        site_scripts: site_scripts.split_whitespace().map(ZeekString::from).collect(),
        link_script: bytes(&daemon.working_dir.join("scripts/node-link.zeek")),
        options: tls_options(&daemon.broker_tls)
            .into_iter()
            .map(ZeekString::from)
            .collect(),
        log_queue: bytes(log_queue),
        policy: policy::read(resolver),
        ..LaunchSettings::default()
    }
}

fn bytes(path: &Path) -> ZeekString {
    path.as_os_str().as_bytes().into()
}

/// Where this Zeek looks for scripts, but for the directory that it is started in.
fn script_path(prefix: &Path) -> String {
    let told = path_of_zeek_config(&prefix.join("bin/zeek-config")).unwrap_or_default();
    let told: Vec<&str> = told
        .trim()
        .split(':')
        .filter(|place| place.starts_with('/'))
        .collect();
    if !told.is_empty() {
        return told.join(":");
    }
    let scripts = prefix.join("share/zeek");
    let places = ["policy", "site", "builtin-plugins"].map(|place| scripts.join(place));
    let places = [scripts].into_iter().chain(places);
    places
        .map(|place| place.display().to_string())
        .collect::<Vec<_>>()
        .join(":")
}

fn path_of_zeek_config(zeek_config: &Path) -> Option<String> {
    let mut command = Command::new(zeek_config);
    let output = command
        .arg("--zeekpath")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())?
}

/// What Zeek is told so that it speaks TLS as the agent does, as `name=value`. Without the passphrase: every user of the host can read
/// arguments.
pub(crate) fn tls_options(tls: &TlsConfig) -> Vec<String> {
    let mut options = Vec::new();
    let mut file = |name: &str, path: &Path| options.push(format!("Broker::{name}={}", path.display()));
    match tls {
        TlsConfig::Off => options.push("Broker::disable_ssl=T".into()),
        TlsConfig::Mutual { identity, trust } => {
            file("ssl_certificate", &identity.certificate);
            file("ssl_keyfile", &identity.key);
            if let Some(path) = &trust.ca_file {
                file("ssl_cafile", path);
            }
            if let Some(path) = &trust.ca_path {
                file("ssl_capath", path);
            }
        }
        _ => {}
    }
    options
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mgmt_daemon::files::{FILE_MODE, SECRET_MODE};

    use crate::{
        config::tests::{DIRECTORIES, read, read_only},
        core::LaunchSettings,
        scripts::node_link,
    };

    fn launch(given: &str) -> LaunchSettings {
        read(&format!("--name=a {given}")).unwrap().settings.launch
    }

    #[test]
    fn nodes_get_of_the_agents_environment_what_they_need() {
        let launch = launch("$TZ=UTC $LANG=C.UTF-8 $HOME=/nowhere");
        let inherited = launch
            .inherited
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        assert_eq!(inherited.collect::<Vec<_>>(), ["LANG=C.UTF-8", "TZ=UTC"]);
        let path = "/nonexistent/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(launch.path, path);
        assert_eq!(launch.log_queue, "/spool/log-queue");
        assert_eq!(launch.link_script, "/state/nodes/a/scripts/node-link.zeek");
    }

    #[test]
    fn the_scripts_of_the_site_may_be_any_or_none() {
        assert_eq!(launch("").site_scripts, ["local"]);
        assert_eq!(
            launch("--site-scripts=local␣tuning/json").site_scripts,
            ["local", "tuning/json"]
        );
        assert!(launch("--site-scripts=").site_scripts.is_empty());
    }

    #[test]
    fn nodes_speak_tls_as_the_agent_does() {
        assert!(launch("").options.is_empty());
        assert_eq!(launch("Broker::disable_ssl=T").options, ["Broker::disable_ssl=T"]);
    }

    #[test]
    fn nodes_get_a_passphrase_in_a_file_that_is_not_for_others() {
        let link = |given: &str| node_link(&read(&format!("--name=a {given}")).unwrap());
        let (script, mode) = link("");
        assert!(!script.contains("passphrase") && mode == FILE_MODE);
        let files = "Broker::ssl_certificate=/c Broker::ssl_keyfile=/k Broker::ssl_cafile=/a";
        let (script, mode) = link(&format!("{files} Broker::ssl_passphrase=x"));
        let told = "redef Broker::ssl_passphrase = \"x\";\n";
        assert!(script.contains(told) && mode == SECRET_MODE, "{script}");
    }

    #[test]
    fn scripts_are_where_zeek_config_says_or_where_an_unchanged_build_has_them() {
        let prefix = tempfile::tempdir().unwrap();
        let bin = prefix.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let place = prefix.path().display();
        let path = || {
            let config = read_only(&format!("{DIRECTORIES} --name=a --zeek-prefix={place}")).unwrap();
            config.settings.launch.script_path.to_string()
        };
        let default =
            ["", "/policy", "/site", "/builtin-plugins"].map(|below| format!("{place}/share/zeek{below}"));
        assert_eq!(path(), default.join(":"));
        let zeek_config = bin.join("zeek-config");
        testkit::write_executable(
            &zeek_config,
            "#!/bin/sh\n[ \"$1\" = --zeekpath ] && echo .:/a:/b/site\n",
        );
        assert_eq!(path(), "/a:/b/site");
    }
}
