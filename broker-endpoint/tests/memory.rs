//! What clients that promise much and send little cost. In a process of its own, because its memory is measured.

use broker_endpoint::websocket::{WebSocketConfig, WebSocketServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const REQUEST: &[u8] = b"GET /v1/messages/json HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: FK4EjvZgx9dEK41Mrt7mCA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    1024 * line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
}

#[tokio::test]
async fn memory_is_taken_for_what_arrives_not_for_what_is_announced() {
    let listen = ([127, 0, 0, 1], 0).into();
    let config = WebSocketConfig::new(listen, "node", "9");
    let clients_max = config.clients_max;
    let mut server = WebSocketServer::<()>::bind(config, |_| |_| Ok(())).await.unwrap();
    let addr = server.local_addr();
    let before = resident();
    let owner = tokio::spawn(async move {
        for _ in 0..clients_max {
            server.recv().await;
        }
        server
    });
    let mut clients = Vec::new();
    for _ in 0..clients_max {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        // A ping, and the beginning of a frame of 16 MiB.
        client
            .write_all(&[0x89, 0x82, 0, 0, 0, 0, b'o', b'k'])
            .await
            .unwrap();
        client
            .write_all(&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        client.write_all(&[b' '; 4096]).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        // Up to the pong. On its way to more input the server looked at all there was, in one go.
        let mut read = Vec::new();
        while !read.ends_with(b"\x8a\x02ok") {
            read.push(client.read_u8().await.unwrap());
        }
    }
    let taken = resident().saturating_sub(before);
    // 1.6 GB were announced; buffers take some 40 KB a connection, on both ends of it.
    assert!(taken < 32 << 20, "{taken} bytes");
    assert_eq!(owner.await.unwrap().connections_open(), 100);
}
