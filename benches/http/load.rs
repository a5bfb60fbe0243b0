//! The load: connections that stay open, each asking again as soon as it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::Server;

/// Connections, where nothing else is said.
pub(crate) const CONNECTIONS: usize = 64;

/// A request as it is sent, but for its end.
#[derive(Clone)]
pub(crate) struct Request {
    head: String,
    body: String,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self { head: format!("GET {path} HTTP/1.1\r\nhost: bench\r\n"), body: String::new() }
    }

    pub(crate) fn post(path: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        );
        Self { head, body: body.into() }
    }

    /// The same requests with more lines.
    pub(crate) fn all_with(requests: &[Self], lines: &str) -> Vec<Self> {
        requests.iter().map(|r| Self { head: format!("{}{lines}", r.head), body: r.body.clone() }).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        format!("{}\r\n{}", self.head, self.body).into_bytes()
    }
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: String,
    pub(crate) body: Vec<u8>,
}

/// What a measurement found.
pub(crate) struct Measured {
    /// Requests a second.
    pub(crate) rate: f64,
    /// The server's CPU seconds for a thousand requests.
    pub(crate) cpu: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    /// Bytes of the last body.
    pub(crate) bytes: usize,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, buffer: Vec::with_capacity(64 << 10) }
    }

    async fn ask(&mut self, request: &[u8]) -> Answer {
        self.stream.write_all(request).await.expect("sent");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("received");
            assert!(read > 0, "the server closed the connection");
            let mut lines = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut lines);
            let Ok(httparse::Status::Complete(end)) = head.parse(&self.buffer) else { continue };
            let header = |name: &str| {
                let line = head.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name))?;
                std::str::from_utf8(line.value).ok()
            };
            let length = header("content-length").map_or(0, |text| text.parse().expect("a length"));
            let (status, etag) = (head.code.expect("a status"), header("etag").unwrap_or_default().to_owned());
            while self.buffer.len() < end + length {
                assert!(self.stream.read_buf(&mut self.buffer).await.expect("received") > 0, "a cut answer");
            }
            return Answer { status, etag, body: self.buffer[end..].to_vec() };
        }
    }
}

/// Asks once.
pub(crate) async fn one(address: &str, request: &Request) -> Answer {
    Connection::open(address).await.ask(&request.bytes()).await
}

/// Asks everything a few times, so that it is cached.
pub(crate) async fn settle(server: &Server, requests: &[Request]) {
    let mut connection = Connection::open(&server.address).await;
    for _ in 0..3 {
        for request in requests {
            let answer = connection.ask(&request.bytes()).await;
            assert!(answer.status == 200, "{}: {}", request.head, String::from_utf8_lossy(&answer.body));
        }
    }
}

/// Asks them again and again for `time`.
pub(crate) async fn measure(server: &Server, requests: &[Request], time: Duration) -> Measured {
    measured(CONNECTIONS, server, requests, usize::MAX, time).await
}

/// Asks each once over so many connections, for `time` at the most.
pub(crate) async fn measure_once(
    connections: usize, server: &Server, requests: &[Request], time: Duration,
) -> Measured {
    measured(connections, server, requests, requests.len(), time).await
}

/// The one in the middle, by what is compared.
pub(crate) fn median(mut rounds: Vec<Measured>, by: impl Fn(&Measured) -> f64) -> Measured {
    rounds.sort_by(|a, b| by(a).total_cmp(&by(b)));
    rounds.swap_remove(rounds.len() / 2)
}

async fn measured(connections: usize, server: &Server, requests: &[Request], last: usize, time: Duration) -> Measured {
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(requests.iter().map(Request::bytes).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu, begun) = (server.cpu(), Instant::now());
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (address, requests, next) = (server.address.clone(), requests.clone(), next.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await;
                let (mut times, mut bytes) = (Vec::new(), 0);
                while begun.elapsed() < time {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= last {
                        break;
                    }
                    let asked = Instant::now();
                    let answer = connection.ask(&requests[at % requests.len()]).await;
                    times.push(asked.elapsed());
                    assert!(matches!(answer.status, 200 | 201 | 304), "{}", String::from_utf8_lossy(&answer.body));
                    bytes = answer.body.len();
                }
                (times, bytes)
            })
        })
        .collect();
    let (mut times, mut bytes) = (Vec::new(), 0);
    for worker in workers {
        let found = worker.await.expect("no panic");
        times.extend(found.0);
        bytes = bytes.max(found.1);
    }
    let (elapsed, cpu) = (begun.elapsed(), server.cpu() - cpu);
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    Measured {
        rate: times.len() as f64 / elapsed.as_secs_f64(),
        cpu: cpu / times.len() as f64 * 1e3,
        p50_ms: at(50),
        p95_ms: at(95),
        p99_ms: at(99),
        bytes,
    }
}
