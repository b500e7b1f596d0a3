//! A server without file descriptors. In a process of its own, because the limit is one of the process.

use std::{fs::File, os::fd::AsRawFd};

use broker_endpoint::websocket::{Counted, WebSocketConfig, WebSocketServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

#[tokio::test]
async fn accepting_goes_on_when_there_are_file_descriptors_again() {
    let listen = ([127, 0, 0, 1], 0).into();
    let server = WebSocketServer::<()>::bind(WebSocketConfig::new(listen, "node", "9"), |_| |_| Ok(()))
        .await
        .unwrap();

    // The client's own descriptors are taken before there are none.
    let sockets = [(); 3].map(|()| TcpSocket::new_v4().unwrap());
    let generous = getrlimit(Resource::Nofile);
    let next = File::open("/dev/null").unwrap().as_raw_fd();
    let none_left = Rlimit {
        current: Some(next.try_into().unwrap()),
        maximum: generous.maximum,
    };
    setrlimit(Resource::Nofile, none_left).unwrap();
    let mut clients = Vec::new();
    for socket in sockets {
        clients.push(socket.connect(server.local_addr()).await.unwrap());
    }
    while server.counters().get(Counted::AcceptErrors) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.counters().get(Counted::Connections), 0);

    setrlimit(Resource::Nofile, generous).unwrap();
    for mut client in clients {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    }
    let counters = server.counters();
    assert_eq!(counters.get(Counted::Connections), 3);
    // It paused rather than trying all the time.
    assert!(counters.get(Counted::AcceptErrors) < 100, "{counters:?}");
}
