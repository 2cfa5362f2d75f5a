//! A connection whose next reply can be replaced by raw bytes, which no HTTP library would send.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Where the raw bytes are put for the connection to find.
#[derive(Clone, Debug, Default)]
pub(super) struct RawReply(Arc<Mutex<Option<Bytes>>>);

impl RawReply {
    /// From now on `bytes` are written instead of anything else, and then the connection ends.
    pub(super) fn set(&self, bytes: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }
}

/// The connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    raw: RawReply,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> (Self, RawReply) {
        let raw = RawReply::default();
        (Self { stream, raw: raw.clone() }, raw)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut raw = this.raw.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = raw.as_mut() else {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        };
        while !bytes.is_empty() {
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
            bytes.advance(written);
        }
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
