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
    time::{Sleep, sleep},
};

use super::Pour;

/// The place of the raw bytes for the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct RawReply(Arc<Mutex<Option<Pouring>>>);

impl RawReply {
    /// Writes this from now on instead of anything else, and then ends the connection.
    pub(super) fn set(&self, pour: Pour) {
        let pouring = Pouring { now: pour.first.clone(), pour, pause: None };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(pouring);
    }
}

/// The progress of a [`Pour`].
#[derive(Debug)]
struct Pouring {
    pour: Pour,
    now: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pouring {
    /// The next piece, once its pause is over; `None` at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(left) = self.pour.times.checked_sub(1) else { return Poll::Ready(None) };
        let length = self.pour.pause;
        if !length.is_zero() {
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(length)));
            ready!(pause.as_mut().poll(cx));
        }
        self.pause = None;
        self.pour.times = left;
        Poll::Ready(Some(self.pour.again.clone()))
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
        let Some(pouring) = raw.as_mut() else {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        };
        loop {
            while !pouring.now.is_empty() {
                let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &pouring.now))?;
                pouring.now.advance(written);
            }
            match ready!(pouring.poll_next(cx)) {
                Some(next) => pouring.now = next,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
