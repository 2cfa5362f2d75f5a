//! A port of 127.0.0.1 that a server gets, and nothing else.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};

/// A port that is reserved while this lives.
///
/// A socket is bound to it and never listens. Linux then chooses the port neither for a connection
/// nor for a server that asks for a free one, while a server that names the port and sets
/// `SO_REUSEADDR` gets it, as often as it is restarted. Servers in Go, the HTTP servers of Python
/// and listeners of tokio set it. On other systems that socket would keep the server out, too, so
/// there the port is only chosen, and another process may take it before the server does.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    _reserved: Option<TcpSocket>,
}

impl Port {
    /// Reserves a free port.
    pub(crate) fn reserve() -> Result<Self> {
        let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { address: reserved.local_addr()?, _reserved: cfg!(target_os = "linux").then_some(reserved) })
    }

    /// Listens on it. Without a listener, connections are refused.
    pub(crate) fn listen(&self) -> Result<TcpListener> {
        bind(self.address)?.listen(1024).with_context(|| format!("cannot listen on {}", self.address))
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{self}")
    }

    /// Returns its number.
    pub(crate) const fn number(&self) -> u16 {
        self.address.port()
    }
}

/// `127.0.0.1:PORT`.
impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)
    }
}

fn bind(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_port_is_kept_between_two_listeners() {
        let port = Port::reserve().unwrap();
        let connect = async || TcpStream::connect(port.address).await.map_err(|error| error.kind());
        for _ in 0..3 {
            let listener = port.listen().unwrap();
            connect().await.unwrap();
            let accepted = listener.accept().await.unwrap();
            drop(listener);
            assert_eq!(connect().await.unwrap_err(), ErrorKind::ConnectionRefused);
            // A socket without SO_REUSEADDR, as that of a connection, cannot have it.
            let other = TcpSocket::new_v4().unwrap();
            assert_eq!(other.bind(port.address).unwrap_err().kind(), ErrorKind::AddrInUse);
            drop(accepted);
        }
    }
}
