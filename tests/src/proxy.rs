//! A bad network: a TCP proxy before a server that cuts, stalls, delays, slows down or damages what goes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Clear,
    /// Ends them at once.
    Refused,
    /// Ends them after this many bytes of one direction.
    Cut(u64),
    /// Lets nothing more through after this many bytes of one direction, and tells neither end: they are half open.
    Stalled(u64),
    /// Turns this byte of the answers round.
    Damaged(u64),
    /// Holds each piece back for this long.
    Late(Duration),
    /// Lets so many bytes through in a second.
    Slow(u64),
}

/// Stands before one server.
pub struct Proxy {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port before the server at this address, which need not be there yet.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let proxy = Self {
            port: listener.local_addr().expect("its address").port(),
            weather: Arc::new(watch::Sender::new(Weather::Clear)),
            up: Arc::default(),
            down: Arc::default(),
            connections: Arc::default(),
        };
        let (weather, up, down) =
            (Arc::clone(&proxy.weather), Arc::clone(&proxy.up), Arc::clone(&proxy.down));
        let connections = Arc::clone(&proxy.connections);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let mut change = weather.subscribe();
                let weather = *change.borrow_and_update();
                let (up, down) = (Arc::clone(&up), Arc::clone(&down));
                tokio::spawn(async move {
                    if weather == Weather::Refused {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let _nodelay = (near.set_nodelay(true), far.set_nodelay(true));
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    // What is damaged is what the server says; the rest happens to both directions alike.
                    let upwards = if let Weather::Damaged(_) = weather { Weather::Clear } else { weather };
                    // Whichever ends first ends the other: both sockets are closed then.
                    tokio::select! {
                        () = carry(near_read, far_write, upwards, &up) => {}
                        () = carry(far_read, near_write, weather, &down) => {}
                        _ = change.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    /// The address to reach the server by.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Changes what happens to connections from now on. Those that are there end.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Bytes that went to the server and came from it, TLS and all.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// Connections that were made.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Carries one direction until it ends.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    weather: Weather,
    counter: &AtomicU64,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0_u64;
    while let Ok(read) = from.read(&mut buffer).await {
        let piece = &mut buffer[..read];
        if piece.is_empty() {
            return;
        }
        let end = passed + read as u64;
        let mut whole = piece.len();
        match weather {
            Weather::Cut(at) | Weather::Stalled(at) if at < end => whole = (at - passed) as usize,
            Weather::Clear | Weather::Refused | Weather::Cut(_) | Weather::Stalled(_) => {}
            Weather::Damaged(at) => {
                if (passed..end).contains(&at) {
                    piece[(at - passed) as usize] ^= 0xff;
                }
            }
            Weather::Late(delay) => tokio::time::sleep(delay).await,
            Weather::Slow(rate) => {
                tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await;
            }
        }
        if to.write_all(&piece[..whole]).await.is_err() {
            return;
        }
        counter.fetch_add(whole as u64, Ordering::Relaxed);
        passed += whole as u64;
        if whole < read {
            if let Weather::Stalled(_) = weather {
                std::future::pending::<()>().await;
            }
            return;
        }
    }
}
