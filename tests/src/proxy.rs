//! A TCP proxy before a server: it cuts connections, holds them up, and slows them down.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{HarnessError, Result};

const PORTION_BYTES: usize = 64 * 1024;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    /// Each portion of bytes waits so long, each way.
    latency: Duration,
    /// Connections stay open and nothing passes.
    is_held: bool,
    /// Connections opened under a lower number are closed.
    generation: u64,
}

/// The proxy. Dropping it cuts the line for good.
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before the server at this port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn before(port: u16) -> Result<Self> {
        let failed = |error: std::io::Error| HarnessError::new(format!("no proxy: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let line = watch::Sender::new(Line { latency: Duration::ZERO, is_held: false, generation: 0 });
        let accepting = tokio::spawn(accept(listener, port, line.subscribe()));
        Ok(Self { address, line, accepting })
    }

    /// The port to connect to in place of the server's.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Closes all connections; new ones pass.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.generation += 1);
    }

    /// Holds up what passes, or lets it go on.
    pub fn hold(&self, is_held: bool) {
        self.line.send_modify(|line| line.is_held = is_held);
    }

    /// Lets each portion of bytes wait so long.
    pub fn slow(&self, latency: Duration) {
        self.line.send_modify(|line| line.latency = latency);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, port: u16, line: watch::Receiver<Line>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(connect(client, port, line.clone()));
    }
}

/// One connection, until an end closes it or the line is cut. Dropping both halves closes both ends.
async fn connect(client: TcpStream, port: u16, mut line: watch::Receiver<Line>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let generation = line.borrow().generation;
    let (there, back) = (line.clone(), line.clone());
    tokio::select! {
        () = pass(from_client, to_server, there) => {}
        () = pass(from_server, to_client, back) => {}
        _cut = line.wait_for(|line| line.generation != generation) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let mut portion = vec![0; PORTION_BYTES];
    while let Ok(length @ 1..) = from.read(&mut portion).await {
        let latency = match line.wait_for(|line| !line.is_held).await {
            Ok(line) => line.latency,
            Err(_gone) => return,
        };
        tokio::time::sleep(latency).await;
        if to.write_all(&portion[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        port
    }

    async fn connected(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap()
    }

    async fn is_echoed(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 2];
        stream.write_all(b"hi").await.is_ok() && stream.read_exact(&mut answer).await.is_ok()
    }

    #[tokio::test]
    async fn a_cut_closes_what_is_open_and_nothing_later() {
        let proxy = Proxy::before(echo().await).await.unwrap();
        let mut stream = connected(&proxy).await;
        assert!(is_echoed(&mut stream).await);
        proxy.cut();
        assert!(!is_echoed(&mut stream).await);
        assert!(is_echoed(&mut connected(&proxy).await).await);
    }

    #[tokio::test]
    async fn what_is_held_passes_later() {
        let proxy = Proxy::before(echo().await).await.unwrap();
        let mut stream = connected(&proxy).await;
        proxy.hold(true);
        let mut asking = Box::pin(is_echoed(&mut stream));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut asking).await.is_err());
        proxy.hold(false);
        assert!(asking.await);
    }

    #[tokio::test]
    async fn a_slow_line_takes_its_time_each_way() {
        let proxy = Proxy::before(echo().await).await.unwrap();
        proxy.slow(Duration::from_millis(60));
        let began = tokio::time::Instant::now();
        assert!(is_echoed(&mut connected(&proxy).await).await);
        assert!(began.elapsed() >= Duration::from_millis(120));
    }
}
