//! Connections that the short way does not take: what was read of them already, and the rest.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A connection of which some bytes were read.
pub(super) struct Rest {
    read: Vec<u8>,
    /// How many of them were read again.
    again: usize,
    stream: TcpStream,
}

impl Rest {
    pub(super) fn new(read: Vec<u8>, stream: TcpStream) -> Self {
        Self { read, again: 0, stream }
    }
}

impl AsyncRead for Rest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = &self.read[self.again..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.again += count;
        if self.again == self.read.len() {
            (self.read, self.again) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where such connections come from.
pub(super) struct Handed {
    connections: mpsc::Receiver<Rest>,
    address: SocketAddr,
}

impl Handed {
    /// `address` is that of the listener which accepted them.
    pub(super) fn new(connections: mpsc::Receiver<Rest>, address: SocketAddr) -> Self {
        Self { connections, address }
    }
}

impl Listener for Handed {
    type Io = Rest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Rest, SocketAddr) {
        match self.connections.recv().await {
            Some(rest) => {
                let peer = rest.stream.peer_addr().unwrap_or(self.address);
                (rest, peer)
            }
            // Nobody is left to hand one over; the server is told to stop in another way.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
