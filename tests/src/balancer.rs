//! Stands before several instances of a server, as a load balancer does: one address, and TLS goes through untouched.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Sends connections to one of several addresses.
pub struct Balancer {
    port: u16,
    chosen: Arc<watch::Sender<SocketAddr>>,
}

impl Balancer {
    /// Listens on a free port, and sends connections to this address at first.
    pub async fn start(first: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let chosen = Arc::new(watch::Sender::new(first));
        let choice = Arc::clone(&chosen);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut choice = choice.subscribe();
                let target = *choice.borrow_and_update();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    // A connection ends when another instance is chosen: nothing goes on to the former one.
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = choice.changed() => {}
                    }
                });
            }
        });
        Self { port, chosen }
    }

    /// The public address of the instances.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Sends every connection to this address from now on.
    pub fn choose(&self, instance: SocketAddr) {
        self.chosen.send_replace(instance);
    }
}
