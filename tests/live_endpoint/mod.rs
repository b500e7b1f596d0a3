//! Our endpoint as a peer of an installed Zeek: in each TLS mode, over IPv4 and IPv6, in both directions of connecting. Where there is no Zeek it
//! cannot run, and says so.

mod values;
mod zeek;

use std::time::Duration;

use broker_codec::{
    Data, EndpointId, Topic,
    data::ZeekString,
    peering::{Liveness, PeeringEnd},
    zeek::Event,
};
use broker_endpoint::{
    Counted, EndReason, Endpoint, EndpointConfig, EndpointEvent, PeerAddress, tls::TlsConfig,
};
use tokio::time::timeout;

use self::{
    values::{enum_value, leaf, real, set, string, table},
    zeek::{TIMEOUT, Zeek},
};
use crate::{
    live::installed_zeek,
    support::certificates::{Authority, Validity, native_settings},
};

/// What a script in Zeek hears.
const TO_ZEEK: &str = "live/zeek";

#[tokio::test]
async fn a_zeek_without_tls_is_a_peer() {
    check(&TlsConfig::Off, &["Broker::disable_ssl=T".to_owned()]).await;
}

#[tokio::test]
async fn a_zeek_with_its_default_settings_is_a_peer() {
    check(&TlsConfig::Anonymous, &[]).await;
}

#[tokio::test]
async fn a_zeek_with_a_certificate_is_a_peer() {
    let ca = Authority::new("Live CA");
    let settings = native_settings(&ca, &ca.sign("zeek", &[], &Validity::Now));
    check(&ca.mutual("test"), &settings).await;
}

#[tokio::test]
async fn a_zeek_that_crashes_is_missed_at_once_and_met_again() {
    let Some(prefix) = installed_zeek() else { return };
    let mut heard = Peer::new("heard", &TlsConfig::Anonymous);
    let mut dialled = Peer::new("dialled", &TlsConfig::Anonymous);
    let heard_port = ("test_port4", heard.listen("127.0.0.1").await);
    let mut zeek = Zeek::start(&prefix, &[heard_port], &[]).await;
    let address = PeerAddress::new("127.0.0.1", zeek.port4);
    let retry = Duration::from_millis(100);
    dialled.endpoint.handle().peer(address, Some(retry));
    for _ in 0..2 {
        for peer in [&mut heard, &mut dialled] {
            peer.meet(&mut zeek).await;
            peer.exchange_leaves().await;
        }
        let listen_port = ("listen_port4", zeek.port4);
        zeek.kill().await;
        for peer in [&mut heard, &mut dialled] {
            let event = peer.event().await;
            assert!(matches!(event, EndpointEvent::PeerLost { .. }), "{event:?}");
        }
        zeek = Zeek::start(&prefix, &[heard_port, listen_port], &[]).await;
    }
}

#[tokio::test]
async fn a_zeek_that_protects_its_port_otherwise_is_recognised() {
    let Some(prefix) = installed_zeek() else { return };
    let [ca, other] = ["Live CA", "Other CA"].map(Authority::new);
    let plaintext = vec!["Broker::disable_ssl=T".to_owned()];
    let mutual = native_settings(&ca, &ca.sign("zeek", &[], &Validity::Now));
    for (theirs, ours, fragments) in [
        (&vec![], TlsConfig::Off, &["peer closed", "may expect TLS"][..]),
        (&plaintext, TlsConfig::Anonymous, &["plaintext", "disable_ssl"]),
        (&plaintext, ca.mutual("test"), &["plaintext", "disable_ssl"]),
        (&mutual, TlsConfig::Off, &["peer closed", "may expect TLS"]),
        (&mutual, TlsConfig::Anonymous, &["peer demands a certificate"]),
        (&vec![], ca.mutual("test"), &["no cipher suite in common"]),
        (&mutual, other.mutual("test"), &["CN=zeek", "not trusted"]),
    ] {
        let zeek = Zeek::start(&prefix, &[], theirs).await;
        let mut dialled = Peer::new("dialled", &ours);
        dialled.dial(&zeek, "127.0.0.1");
        match dialled.event().await {
            EndpointEvent::PeerUnavailable { error, .. } => {
                for fragment in fragments {
                    assert!(
                        error.to_string().contains(fragment),
                        "{} to {theirs:?}: {error}",
                        ours.name()
                    );
                }
            }
            other => panic!("{theirs:?}: {other:?}"),
        }
        zeek.kill().await;
    }
}

async fn check(tls: &TlsConfig, settings: &[String]) {
    let Some(prefix) = installed_zeek() else { return };
    let mut heard4 = Peer::new("heard4", tls);
    let mut heard6 = Peer::new("heard6", tls);
    let mut both = Peer::new("both", tls);
    let ports = [
        ("test_port4", heard4.listen("127.0.0.1").await),
        ("test_port6", heard6.listen("::1").await),
        ("test_port_both", both.listen("127.0.0.1").await),
    ];
    let mut zeek = Zeek::start(&prefix, &ports, settings).await;
    both.dial(&zeek, "127.0.0.1");
    let mut dialled4 = Peer::new("dialled4", tls);
    let mut dialled6 = Peer::new("dialled6", tls);
    dialled4.dial(&zeek, "127.0.0.1");
    dialled6.dial(&zeek, "::1");

    for peer in [&mut heard4, &mut heard6, &mut dialled4, &mut dialled6, &mut both] {
        peer.meet(&mut zeek).await;
        peer.exchange_leaves().await;
        peer.exchange_containers().await;
        peer.exchange_others(&mut zeek).await;
        peer.exchange_many().await;
    }

    // Either side leaves in good order.
    dialled6.leave(&mut zeek).await;
    heard4.say("Live::leave", vec![]).await;
    heard4.is_left(&mut zeek, "removed").await;
    // A Zeek that ends leaves all its peers.
    heard6.say("Live::finish", vec![]).await;
    for peer in [&mut heard6, &mut dialled4, &mut both] {
        peer.is_lost(|reason| matches!(reason, EndReason::Closed | EndReason::Left))
            .await;
    }
    zeek.ends().await;
    for peer in [&heard4, &heard6, &dialled4, &dialled6, &both] {
        let counters = peer.endpoint.handle().counters();
        // Where both connect, one connection remains.
        let counted = [Counted::PeersAdded, Counted::Rejected].map(|kind| counters.get(kind));
        assert_eq!(counted, [1, 0], "{}: {counters:?}", peer.name);
    }
}

struct Peer {
    name: &'static str,
    endpoint: Endpoint,
    zeek: Option<EndpointId>,
}

impl Peer {
    fn new(name: &'static str, tls: &TlsConfig) -> Self {
        let mut config = EndpointConfig::default();
        config.tls = tls.clone();
        config.subscriptions = vec![topic(&format!("live/test/{name}"))];
        // Zeek answers pings at any time.
        config.liveness = Some(Liveness {
            interval: Duration::from_millis(100),
            timeout: TIMEOUT,
        });
        let endpoint = Endpoint::start(config).expect("the configuration is valid");
        let zeek = None;
        Self { name, endpoint, zeek }
    }

    async fn listen(&self, host: &str) -> u16 {
        let addresses = self.endpoint.handle().listen(host, 0).await;
        addresses.expect("listening")[0].port()
    }

    fn dial(&self, zeek: &Zeek, host: &str) {
        let port = if host.contains(':') {
            zeek.port6
        } else {
            zeek.port4
        };
        self.endpoint.handle().peer(PeerAddress::new(host, port), None);
    }

    /// The next event; not that it tries again.
    async fn event(&mut self) -> EndpointEvent {
        loop {
            let event = timeout(TIMEOUT, self.endpoint.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("{}: no event in time", self.name));
            match event.expect("the endpoint runs") {
                EndpointEvent::PeerUnavailable { retry: Some(_), .. } => {}
                event => return event,
            }
        }
    }

    /// The peering is there for both sides.
    async fn meet(&mut self, zeek: &mut Zeek) {
        match self.event().await {
            EndpointEvent::PeerAdded(peer) => self.zeek = Some(peer.id),
            other => panic!("{}: {other:?}", self.name),
        }
        zeek.says(&format!("added {}", self.endpoint.id())).await;
    }

    async fn say(&self, name: &str, args: Vec<Data>) {
        let event = Event {
            name: name.into(),
            args,
            metadata: None,
        };
        let handle = self.endpoint.handle();
        let published = handle.publish(topic(TO_ZEEK), &event.into_data()).await;
        published.expect("published");
    }

    async fn hear(&mut self, name: &str) -> Vec<Data> {
        let topic = format!("live/test/{}", self.name);
        match self.event().await {
            EndpointEvent::Message(message) => {
                assert_eq!(Some(message.peer), self.zeek, "{}", self.name);
                assert_eq!(message.topic, topic.as_str());
                let event = Event::from_data(message.data).expect("an event");
                assert_eq!(event.name, name, "{}", self.name);
                event.args
            }
            other => panic!("{}: {other:?} instead of {name}", self.name),
        }
    }

    /// Zeek returns what was sent to it.
    async fn exchange(&mut self, name: &str, mut args: Vec<Data>) {
        args.insert(0, string(self.name));
        self.say(name, args.clone()).await;
        assert_eq!(self.hear(name).await, args, "{}: {name}", self.name);
    }

    async fn exchange_leaves(&mut self) {
        for variant in 0..3 {
            // One usual value, and extremes. Of times Zeek can express only some: they are doubles there.
            let pick = |texts: [&str; 3]| texts[variant].to_owned();
            let strings: [&[u8]; 3] = [b"text", b"\0\xff\xfe \x80 not UTF-8", b""];
            self.exchange(
                "Live::leaves",
                vec![
                    Data::Boolean(variant == 0),
                    leaf("count", &pick(["7", "18446744073709551615", "0"])),
                    leaf(
                        "integer",
                        &pick(["-7", "-9223372036854775808", "9223372036854775807"]),
                    ),
                    leaf("real", &pick(["1.5", "-1.7976931348623157e308", "2.5e-308"])),
                    Data::String(ZeekString::from(strings[variant])),
                    enum_value(["Live::RED", "Live::GREEN", "Live::RED"][variant]),
                    leaf("port", &pick([r#""80/tcp""#, r#""65535/udp""#, r#""8/icmp""#])),
                    leaf(
                        "address",
                        &pick([r#""192.0.2.1""#, r#""2001:db8::1""#, r#""0.0.0.0""#]),
                    ),
                    leaf(
                        "subnet",
                        &pick([r#""192.0.2.0/24""#, r#""2001:db8::/32""#, r#""0.0.0.0/0""#]),
                    ),
                    leaf(
                        "timestamp",
                        &pick([
                            r#""2026-01-02T03:04:05.500""#,
                            r#""1970-01-01T00:00:00.000""#,
                            r#""2038-01-19T03:14:08.000""#,
                        ]),
                    ),
                    leaf("timespan", &pick([r#""1500ms""#, r#""-1h""#, r#""0s""#])),
                ],
            )
            .await;
        }
    }

    async fn exchange_containers(&mut self) {
        let inner = |number: u64, text: Data| Data::Vector(vec![Data::Count(number), text]);
        let address = |text: &str| leaf("address", &format!("{text:?}"));
        let addresses = || set(vec![address("192.0.2.1"), address("2001:db8::1")]);
        let full = vec![
            addresses(),
            set(vec![
                Data::Vector(vec![string("b"), leaf("port", r#""53/udp""#)]),
                Data::Vector(vec![string("a"), leaf("port", r#""443/tcp""#)]),
            ]),
            table(vec![
                (string("one"), Data::Count(1)),
                (string("two"), Data::Count(2)),
            ]),
            table(vec![(
                Data::Vector(vec![leaf("subnet", r#""10.0.0.0/8""#), Data::Integer(-1)]),
                inner(3, string("three")),
            )]),
            Data::Vector(vec![
                leaf("real", "1.5"),
                leaf("real", "-0.25"),
                real(f64::INFINITY),
                real(f64::NEG_INFINITY),
            ]),
            Data::Vector(vec![
                inner(4, Data::None),
                Data::Vector(vec![inner(5, string("five")), inner(6, Data::None)]),
                table(vec![
                    (leaf("port", r#""22/tcp""#), addresses()),
                    (leaf("port", r#""0/?""#), set(vec![])),
                ]),
                Data::None,
            ]),
        ];
        let empty = vec![
            set(vec![]),
            set(vec![]),
            table(vec![]),
            table(vec![]),
            Data::Vector(vec![]),
            Data::Vector(vec![
                inner(0, Data::None),
                Data::Vector(vec![]),
                table(vec![]),
                leaf("timespan", r#""1s""#),
            ]),
        ];
        for args in [full, empty] {
            self.exchange("Live::containers", args).await;
        }
    }

    /// Functions, patterns, `any` and opaque values.
    async fn exchange_others(&mut self, zeek: &mut Zeek) {
        let function = Data::Vector(vec![string("Live::doubled")]);
        // As Zeek writes them: for the whole of a text, and for a part of it.
        let pattern = Data::Vector(vec![string("^?(ab+)$?"), string("^?(.|\\n)*(ab+)")]);
        self.exchange("Live::others", vec![function, pattern]).await;
        zeek.says(&format!("others {} F 42", self.name)).await;
        self.exchange("Live::anything", vec![Data::Count(7)]).await;
        self.exchange(
            "Live::anything",
            vec![Data::Vector(vec![Data::Count(7), string("seven")])],
        )
        .await;

        self.say("Live::want_opaque", vec![string(self.name)]).await;
        let opaque = self.hear("Live::opaque_value").await;
        let mut args = vec![string(self.name)];
        args.extend(opaque);
        self.say("Live::estimate", args).await;
        let estimated = self.hear("Live::estimated").await;
        let [Data::Real(estimated)] = estimated.as_slice() else {
            panic!("{estimated:?}")
        };
        assert!((estimated.0 - 3.0).abs() < 0.1, "{estimated:?}");
    }

    async fn exchange_many(&mut self) {
        const MANY: u64 = 2000;
        self.say("Live::many", vec![string(self.name), Data::Count(MANY)])
            .await;
        for number in 0..MANY {
            assert_eq!(self.hear("Live::one_of_many").await, [Data::Count(number)]);
        }
    }

    /// We say BYE, Zeek answers.
    async fn leave(&mut self, zeek: &mut Zeek) {
        let peer = self.zeek.expect("it was met");
        self.endpoint.handle().disconnect(peer);
        match self.event().await {
            EndpointEvent::PeerRemoved {
                reason: EndReason::Ended(PeeringEnd::Left),
                ..
            } => {}
            other => panic!("{}: {other:?}", self.name),
        }
        zeek.says(&format!("lost {}", self.endpoint.id())).await;
    }

    /// Zeek says BYE, we answer, and it closes before it would have without an answer.
    async fn is_left(&mut self, zeek: &mut Zeek, what: &str) {
        self.is_lost(|reason| matches!(reason, EndReason::Left)).await;
        zeek.says(&format!("{what} {}", self.endpoint.id())).await;
    }

    async fn is_lost(&mut self, good: impl Fn(&EndReason) -> bool) {
        match self.event().await {
            EndpointEvent::PeerLost { reason, .. } if good(&reason) => {}
            other => panic!("{}: {other:?}", self.name),
        }
    }
}

fn topic(text: &str) -> Topic {
    text.try_into().expect("short")
}
