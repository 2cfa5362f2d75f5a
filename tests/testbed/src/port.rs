//! A port of 127.0.0.1 that a server gets, and nothing else.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result};
use rustix::net::{Shutdown, shutdown};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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
    pub(crate) fn listen(&self) -> Result<Listener> {
        let listener = bind(self.address)?.listen(1024);
        listener.map(Listener).with_context(|| format!("cannot listen on {}", self.address))
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

/// A listener. Connections are refused from the moment it is dropped.
///
/// Closing its descriptor alone would not do: a process that this program is just starting has a
/// copy of every descriptor until its `exec`, and the kernel accepts connections until the last
/// copy is closed.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Accepts the next connection.
    ///
    /// # Errors
    /// When the system cannot accept one.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.0.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It fails for a socket that does not listen, and then there is nothing to end.
        let _ = shutdown(&self.0, Shutdown::Both);
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

    use super::*;

    #[tokio::test]
    async fn a_port_is_kept_between_two_listeners() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            let listener = port.listen().unwrap();
            TcpStream::connect(port.address).await.unwrap();
            let accepted = listener.accept().await.unwrap();
            drop(listener);
            assert_eq!(refused(&port).await, ErrorKind::ConnectionRefused);
            // A socket without SO_REUSEADDR, as that of a connection, cannot have it.
            let other = TcpSocket::new_v4().unwrap();
            assert_eq!(other.bind(port.address).unwrap_err().kind(), ErrorKind::AddrInUse);
            drop(accepted);
        }
    }

    #[tokio::test]
    async fn a_copy_of_a_listener_does_not_keep_it_open() {
        let port = Port::reserve().unwrap();
        let listener = port.listen().unwrap();
        // A process has such a copy between its fork and its exec.
        let _copy = rustix::io::dup(&listener.0).unwrap();
        drop(listener);
        assert_eq!(refused(&port).await, ErrorKind::ConnectionRefused);
        let again = port.listen().unwrap();
        TcpStream::connect(port.address).await.unwrap();
        again.accept().await.unwrap();
    }

    /// Returns the kind of the error of a connection.
    async fn refused(port: &Port) -> ErrorKind {
        TcpStream::connect(port.address).await.unwrap_err().kind()
    }
}
