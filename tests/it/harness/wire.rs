//! A client of few instructions, so that the race is run by the servers and not by it.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The headers as they came, names in lower case as the server writes them.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A connection that is kept, and made anew when it breaks.
pub(crate) struct Wire {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Wire {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        let outcome = self.exchange(request).await;
        if outcome.is_err() {
            self.stream = None;
        }
        outcome
    }

    async fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        self.send(request.as_bytes()).await?;
        self.receive(request.starts_with("HEAD ")).await
    }

    async fn stream(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::with_capacity(1 << 15, stream));
        }
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream().await?.get_mut().write_all(bytes).await
    }

    /// Reads one answer. That to a HEAD has no body, whatever its headers say.
    pub(crate) async fn receive(&mut self, is_head: bool) -> io::Result<Answer> {
        let stream = self.stream().await?;
        let (mut head, mut length, mut status) = (String::new(), 0, 0);
        loop {
            let from = head.len();
            if stream.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = head[from..].trim_end();
            if line.is_empty() {
                break;
            }
            if from == 0 {
                status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
        }
        let mut body = vec![0; if is_head || status == 304 { 0 } else { length }];
        stream.read_exact(&mut body).await?;
        Ok(Answer { status, head, body })
    }

    /// Whatever comes until the other side closes, `limit` bytes at most.
    pub(crate) async fn rest(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream().await?.take(limit).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }
}
