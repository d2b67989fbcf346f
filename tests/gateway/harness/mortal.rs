//! A server that dies and comes back at the same address: a relay in front of one that lives on.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::eventually;

/// The relay.
pub struct Mortal {
    address: SocketAddr,
    lives: watch::Sender<bool>,
    /// Whether it listens.
    listens: watch::Receiver<bool>,
}

impl Mortal {
    /// One in front of `server`; it lives.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (lives, alive) = watch::channel(true);
        let (listening, listens) = watch::channel(true);
        tokio::spawn(relay(listener, server, alive, listening));
        Self { address, lives, listens }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections with a reset; new ones are refused.
    pub async fn die(&self) {
        self.set(false).await;
    }

    /// Listens again.
    pub async fn revive(&self) {
        self.set(true).await;
    }

    async fn set(&self, lives: bool) {
        self.lives.send_replace(lives);
        let what = "a server to die or to come back";
        eventually(what, async || (*self.listens.borrow() == lives).then_some(())).await;
    }
}

async fn relay(
    listener: TcpListener,
    server: SocketAddr,
    mut alive: watch::Receiver<bool>,
    listening: watch::Sender<bool>,
) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    loop {
        let mut connections = JoinSet::new();
        if let Some(listener) = listener.take() {
            while *alive.borrow() {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        connections.spawn(pass(stream, server));
                    }
                    changed = alive.changed() => if changed.is_err() { return },
                    Some(_) = connections.join_next() => {}
                }
            }
        }
        connections.shutdown().await;
        listening.send_replace(false);
        while !*alive.borrow() {
            if alive.changed().await.is_err() {
                return;
            }
        }
        listener = listen(address);
        if listener.is_some() {
            listening.send_replace(true);
        }
    }
}

/// Passes bytes both ways. What is dropped inside ends with a reset.
async fn pass(mut near: TcpStream, server: SocketAddr) {
    let _ = socket2::SockRef::from(&near).set_linger(Some(Duration::ZERO));
    let _ = near.set_nodelay(true);
    if let Ok(mut far) = TcpStream::connect(server).await {
        let _ = far.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

fn listen(address: SocketAddr) -> Option<TcpListener> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_reuseaddr(true).ok()?;
    socket.bind(address).ok()?;
    socket.listen(1024).ok()
}
