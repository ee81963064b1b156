//! A TCP proxy that can be told to misbehave: it stands between a service and its broker, database or mail
//! server, and makes the network fail in ways that killing a process cannot. What it is told holds at once,
//! for new connections and for those that are open.

mod pump;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use self::pump::{Direction, passable, pump};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Every connection is reset, and so is every new one as soon as it is made.
    Cut,
    /// Everything arrives, this much later in each direction.
    Delay(Duration),
    /// What the client says arrives; what the server says is thrown away. Connections that lost something
    /// are reset when this mode ends: the rest of their stream would make no sense.
    SwallowAnswers,
    /// Connections are accepted and nothing moves. What was said meanwhile arrives when this mode ends, as
    /// TCP would deliver it after a partition.
    BlackHole,
}

#[derive(Clone, Copy)]
struct Settings {
    mode: Mode,
    target: Option<SocketAddr>,
}

/// Dropping it ends it and all its connections.
pub struct Proxy {
    port: u16,
    settings: watch::Sender<Settings>,
    accepting: AbortHandle,
}

impl Proxy {
    /// On a free port of the loopback interface. Until it is pointed at a target it resets connections.
    pub async fn start() -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (settings, _) = watch::channel(Settings { mode: Mode::Pass, target: None });
        let accepting = tokio::spawn(accept(listener, settings.clone())).abort_handle();
        Ok(Proxy { port, settings, accepting })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where new connections go.
    pub fn point_at(&self, target: SocketAddr) {
        self.settings.send_modify(|settings| settings.target = Some(target));
    }

    pub fn set(&self, mode: Mode) {
        self.settings.send_modify(|settings| settings.mode = mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, settings: watch::Sender<Settings>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(client, settings.subscribe()));
                }
                // Out of file descriptors: some will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, from its first byte to its end, whatever the modes in between.
async fn carry(mut client: TcpStream, settings: watch::Receiver<Settings>) {
    let _ = client.set_nodelay(true);
    let mut server = None;
    let relayed = async {
        let connected = server.insert(connect(settings.clone()).await?);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = connected.split();
        tokio::try_join!(
            pump(from_client, to_server, Direction::ToServer, settings.clone()),
            pump(from_server, to_client, Direction::ToClient, settings.clone()),
        )
    };
    let mut watched = settings.clone();
    let ended_well = tokio::select! {
        biased;
        _ = watched.wait_for(|settings| settings.mode == Mode::Cut) => false,
        relayed = relayed => relayed.is_ok(),
    };
    if !ended_well {
        // A reset instead of a polite end, as from a peer that is gone.
        for socket in [Some(client), server].into_iter().flatten() {
            let _ = socket.set_zero_linger();
        }
    }
}

async fn connect(mut settings: watch::Receiver<Settings>) -> io::Result<TcpStream> {
    passable(&mut settings).await?;
    let target = settings.borrow().target;
    let server = TcpStream::connect(target.ok_or(io::ErrorKind::ConnectionRefused)?).await?;
    server.set_nodelay(true)?;
    Ok(server)
}
