//! A client of few instructions, so that the race is run by the servers and not by it.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The headers as they came, names in lower case as the server writes them.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A connection that is kept, and made anew when it breaks.
pub(super) struct Wire {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Wire {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        let outcome = self.exchange(request).await;
        if outcome.is_err() {
            self.stream = None;
        }
        outcome
    }

    async fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(BufReader::with_capacity(1 << 15, stream))
            }
        };
        stream.get_mut().write_all(request.as_bytes()).await?;
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
        let mut body = vec![0; if status == 304 { 0 } else { length }];
        stream.read_exact(&mut body).await?;
        Ok(Answer { status, head, body })
    }
}
