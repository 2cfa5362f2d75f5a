//! A DNS server that knows one name.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use tokio::{net::UdpSocket, task::JoinHandle};

const ADDRESS: u16 = 1;
const NO_SUCH_NAME: u8 = 3;

/// Resolves one name to 127.0.0.1, and no other. It ends when dropped.
#[derive(Debug)]
pub(super) struct Names {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Names {
    /// Starts it at port 53, since a container's list of servers has no ports, on an address of
    /// its own.
    pub(super) async fn start(name: &'static str) -> Result<Self> {
        let [.., third, fourth] = process::id().to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, 53, third, fourth), 53));
        let socket = UdpSocket::bind(address).await.with_context(|| {
            format!("no DNS server at {address}: run this as root, or allow the port (see CONTRIBUTING.md)")
        })?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query).await {
                let Some((wanted, response)) = query.get(..length).and_then(|query| respond(query, name)) else {
                    continue;
                };
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(wanted);
                let _ = socket.send_to(&response, client).await;
            }
        });
        Ok(Self { address, asked, task })
    }

    /// Returns the address without the port.
    pub(super) fn address(&self) -> String {
        self.address.ip().to_string()
    }

    /// Returns the names that were asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the name of a query, and the response to it.
fn respond(query: &[u8], known: &str) -> Option<(String, Vec<u8>)> {
    let (header, mut rest) = query.split_at_checked(12)?;
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            rest = after;
            break;
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = after;
    }
    let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
    let question = query.get(12..query.len() - rest.len() + 4)?;
    let name = labels.join(".");
    let answers = u8::from(name == known && kind == ADDRESS);
    let status = if name == known { 0 } else { NO_SUCH_NAME };
    let mut response = header.get(..2)?.to_vec();
    response.extend([0x85, 0x80 | status, 0, 1, 0, answers, 0, 0, 0, 0]);
    response.extend(question);
    if answers == 1 {
        // A pointer to the name in the question; an address, of the Internet, for 60 s, of 4 bytes.
        response.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some((name, response))
}
