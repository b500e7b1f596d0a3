//! Debian's Chromium by its driver, which speaks `WebDriver`: JSON over HTTP.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{limit::TIMEOUT, pending, works};

/// The key Tab, as `WebDriver` has it.
pub(super) const TAB: &str = "\u{e004}";

/// A browser without a window.
pub(super) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts one that keeps its files in this directory, if there is one here.
    pub(super) fn start(home: &Path) -> Option<Self> {
        if !works(Command::new("chromedriver").arg("--version"))
            || !works(Command::new("chromium").arg("--version"))
        {
            let why = "chromium and chromium-driver are not installed: MGMT_REQUIRE=browser scripts/check.sh --setup installs them";
            pending("browser", "browser", why);
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let said = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let mut said = said.map(|line| line.expect("text"));
        let port = said.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut browser = Self {
            driver,
            port: port.expect("it says on which port it listens"),
            session: String::new(),
        };
        let profile = home.join("profile");
        let arguments = [
            "--headless=new".to_owned(),
            // Root has no sandbox.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let options = json!({ "binary": "/usr/bin/chromium", "args": arguments });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let begun = browser.ask("POST", "/session", &wanted);
        let session = begun["sessionId"].as_str();
        session.expect("a session").clone_into(&mut browser.session);
        let time = TIMEOUT.as_millis();
        browser.tell("timeouts", &json!({ "script": time, "pageLoad": time }));
        Some(browser)
    }

    /// What it answers to a command of its session.
    pub(super) fn tell(&self, command: &str, parameters: &Value) -> Value {
        self.ask(
            "POST",
            &format!("/session/{}/{command}", self.session),
            parameters,
        )
    }

    pub(super) fn open(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    /// What a script returns.
    pub(super) fn run(&self, script: &str, arguments: &Value) -> Value {
        self.tell("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// What a script gives to the function that is its last argument.
    pub(super) fn await_by(&self, script: &str, arguments: &Value) -> Value {
        self.tell("execute/async", &json!({ "script": script, "args": arguments }))
    }

    /// Presses a key, wherever the focus is.
    pub(super) fn press(&self, key: &str) {
        let strokes = [
            json!({ "type": "keyDown", "value": key }),
            json!({ "type": "keyUp", "value": key }),
        ];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.tell("actions", &json!({ "actions": [keyboard] }));
    }

    /// A command of Chromium's own.
    pub(super) fn chromium(&self, command: &str, parameters: &Value) {
        self.tell(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        );
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time");
        let body = body.to_string();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("it reads");
        let (head, body) = answer_from(&mut BufReader::new(stream));
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}{body}");
        let mut answer: Value = serde_json::from_str(&body).expect("JSON");
        answer["value"].take()
    }
}

/// The head and the body of an answer, after which the driver keeps the connection.
fn answer_from(stream: &mut impl BufRead) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = stream.read_line(&mut head).expect("text");
        assert_ne!(read, 0, "{head}");
    }
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    };
    let length: usize = head.lines().find_map(field).expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("as long as it says");
    (head, String::from_utf8(body).expect("text"))
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
