//! The short way of a request: HTTP/1.1 read off the connection, answered on it, and nothing between.
//!
//! Only a request of the plainest form is taken here: one that [`Asked`] may be for, whole, its length told once in
//! digits or nought. With the first that is not, the connection goes to hyper for good, every byte as it came: HTTP/2,
//! upgrades, chunks, large bodies, other routes, and all that is malformed. So there is one reader of odd requests, and
//! this one reads none.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Buf;
use chrono::Utc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::answer::{http_date, line};
use super::asked::Asked;
use super::drain::{Phase, Watch};
use super::front::{Front, Missed};
use super::handed::{self, Rest};
use crate::coherence::Consistency;
use crate::config::Http;

/// Most bytes of a request's head that are looked at here.
const MAX_HEAD: usize = 32 << 10;

/// Most headers of a request that is taken here.
const MAX_HEADERS: usize = 64;

/// Bytes that are read at once, and half of what a buffer keeps between requests.
const CHUNK: usize = 8 << 10;

/// Longest time that a client is waited for once the server stops: until it takes the last answer and closes too, and, when
/// it has just come, until it says what it came for.
const PARTING: Duration = Duration::from_secs(1);

/// How long an idle connection is looked at once more when the server stops: what has come may not have been told yet.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(20);

/// One connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) front: Front,
    pub(super) watch: Watch,
}

impl Connection {
    /// Serves it until it ends.
    pub(super) async fn run(mut self) {
        let &Http { body_limit, timeout, idle, .. } = self.front.http();
        let (mut input, mut ahead, mut output, mut date) = (Vec::new(), Vec::new(), Vec::new(), Date::default());
        let (period, opened) = (timeout.min(idle), tokio::time::Instant::now());
        let (watch, stop) = (tokio::time::sleep(period), self.watch.reached(Phase::Stopping));
        let stop = async {
            stop.await;
            tokio::time::sleep_until(opened + PARTING).await;
        };
        tokio::pin!(watch, stop);
        let mut patience = Patience { watch, period, timeout, idle, since: Instant::now() };
        loop {
            let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            let plain = match read(&input, &mut slots, body_limit) {
                Read::Plain(plain) => plain,
                Read::Partial => match more(&mut self.stream, &mut input, &mut patience, stop.as_mut()).await {
                    true => continue,
                    false => return part(self.stream).await,
                },
                Read::Other => return self.over(input).await,
            };
            output.clear();
            let answering = answer(&mut self.front, &plain, &input, patience.since, &mut output);
            let body = match attended(answering, &mut self.stream, &mut ahead).await {
                Some(Answer::Body(body)) => body,
                Some(Answer::NoRequest) => {
                    input.append(&mut ahead);
                    return self.over(input).await;
                }
                None => return,
            };
            // Of a server that ends, an answer is the last on its connection, once all that was asked is answered.
            let is_last = self.watch.is_ending() && plain.whole == input.len() && ahead.is_empty();
            line(&mut output, "date", date.now());
            if is_last {
                line(&mut output, "connection", b"close");
            }
            output.extend_from_slice(b"\r\n");
            if !send(&mut self.stream, Buf::chain(&output[..], body), &mut patience).await {
                return;
            }
            if is_last {
                return part(self.stream).await;
            }
            let whole = plain.whole;
            input.drain(..whole);
            input.append(&mut ahead);
            // What an answer that took time, or a large request, has left need not lie idle with the connection.
            ahead.shrink_to_fit();
            input.shrink_to(2 * CHUNK);
            output.shrink_to(2 * CHUNK);
            if !input.is_empty() {
                patience.since = Instant::now();
            }
        }
    }
}

impl Connection {
    /// Gives the connection to hyper, with what was read of it.
    async fn over(self, input: Vec<u8>) {
        metrics::counter!(HANDED_OVER).increment(1);
        let idle = self.front.http().idle;
        let rest = Rest::new(input, self.stream, idle);
        // Boxed, so that a connection that stays here does not carry the room that hyper takes.
        Box::pin(handed::serve(rest, idle, self.front, self.watch)).await;
    }
}

/// Closes a connection in order: one that is closed while something on it is unread is reset, and a reset can take the last
/// answer back from a client that has not read it yet.
async fn part(mut stream: TcpStream) {
    let parting = async {
        stream.shutdown().await?;
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _or_gone = tokio::time::timeout(PARTING, parting).await;
}

/// Writes an answer; `false` when the client is gone or has taken nothing of it for too long.
async fn send(stream: &mut TcpStream, mut answer: impl Buf, patience: &mut Patience<'_>) -> bool {
    let mut has_warned = false;
    while answer.has_remaining() {
        tokio::select! {
            biased;
            wrote = stream.write_buf(&mut answer) => match wrote {
                Ok(1..) => has_warned = false,
                _ => return false,
            },
            () = patience.watch.as_mut() => {
                // The first time may come at any moment of the wait; from then on it is a whole period.
                if std::mem::replace(&mut has_warned, true) {
                    return false;
                }
                patience.again();
            }
        }
    }
    true
}

/// Reads more of a request; `false` when there will be none, as between requests once the server is to `stop`.
async fn more<T>(
    stream: &mut TcpStream, input: &mut Vec<u8>, patience: &mut Patience<'_>, stop: impl Future<Output = T>,
) -> bool {
    let is_idle = input.is_empty();
    input.reserve(CHUNK);
    tokio::select! {
        biased;
        read = stream.read_buf(input) => {
            if is_idle {
                patience.since = Instant::now();
            }
            // A client that went away is no news.
            matches!(read, Ok(1..))
        }
        () = patience.watch.as_mut() => patience.lasts(is_idle),
        _ = stop, if is_idle => matches!(tokio::time::timeout(LAST_LOOK, stream.read_buf(input)).await, Ok(Ok(1..))),
    }
}

/// How long a connection is waited for. It looks at the clock from time to time, since setting a timer for each request has
/// its price: what is too slow is found after twice its time at the latest.
struct Patience<'a> {
    watch: Pin<&'a mut Sleep>,
    /// How often it looks.
    period: Duration,
    /// For a request that has begun.
    timeout: Duration,
    /// For one that has not, counted from the beginning of the one before.
    idle: Duration,
    /// When the newest request began.
    since: Instant,
}

impl Patience<'_> {
    /// Sets the watch anew.
    fn again(&mut self) {
        self.watch.as_mut().reset(tokio::time::Instant::now() + self.period);
    }

    fn lasts(&mut self, is_idle: bool) -> bool {
        self.again();
        self.since.elapsed() < if is_idle { self.idle } else { self.timeout }
    }
}

/// What `answering` comes to; nothing when the client goes away before. What it sends meanwhile is read `ahead`, a little of
/// it: only so is its going noticed.
async fn attended<T>(answering: impl Future<Output = T>, stream: &mut TcpStream, ahead: &mut Vec<u8>) -> Option<T> {
    tokio::pin!(answering);
    loop {
        let has_room = ahead.len() < CHUNK;
        let reading = async {
            ahead.reserve(CHUNK);
            stream.read_buf(ahead).await
        };
        // Only an answer that takes time comes to the second branch.
        tokio::select! {
            biased;
            answer = &mut answering => return Some(answer),
            read = reading, if has_room => if !matches!(read, Ok(1..)) { return None },
        }
    }
}

/// Counts connections that went the long way.
pub(super) const HANDED_OVER: &str = "overlay_connections_handed_over_total";

/// A request of the plainest form, as it lies in the buffer.
struct Plain<'a> {
    asked: Asked<'a>,
    /// Length of its head, bytes.
    head: usize,
    /// Length of all of it, bytes.
    whole: usize,
}

/// What the first bytes of a connection, or after a request, are.
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart at once: a box would be dearer")]
enum Read<'a> {
    Plain(Plain<'a>),
    /// The beginning of what may become one.
    Partial,
    Other,
}

fn read<'a>(input: &'a [u8], slots: &mut [MaybeUninit<httparse::Header<'a>>], body_limit: usize) -> Read<'a> {
    let mut request = httparse::Request::new(&mut []);
    let head = match request.parse_with_uninit_headers(input, slots) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => return Read::Partial,
        Ok(httparse::Status::Partial) | Err(_) => return Read::Other,
    };
    match plain(&request, head, body_limit) {
        Some(plain) if plain.whole <= input.len() => Read::Plain(plain),
        Some(_) => Read::Partial,
        None => Read::Other,
    }
}

/// The request, if it is of the plainest form.
fn plain<'a>(request: &httparse::Request<'_, 'a>, head: usize, body_limit: usize) -> Option<Plain<'a>> {
    let method = match request.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        _ => return None,
    };
    let mut asked = Asked::new(&method, request.path?).filter(|_| request.version == Some(1))?;
    let (mut length, mut hosts) = (None::<usize>, 0);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        hosts += usize::from(is("host"));
        if is("content-length") {
            let digits = std::str::from_utf8(header.value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()))?;
            let told = digits.parse().ok().filter(|length| *length <= body_limit)?;
            if length.replace(told).is_some() {
                return None;
            }
        } else if is("connection") {
            header.value.eq_ignore_ascii_case(b"keep-alive").then_some(())?;
        } else if ["transfer-encoding", "expect", "trailer", "http2-settings"].into_iter().any(is)
            || !asked.take(header.name, header.value)
        {
            return None;
        }
    }
    // None, or more than one, is refused the long way.
    (hosts == 1).then_some(())?;
    // A body whose length is not told is for hyper to refuse.
    let length = if method == Method::POST { length? } else { length.unwrap_or_default() };
    Some(Plain { asked, head, whole: head + length })
}

/// What a request comes to.
enum Answer {
    /// The head is written, this follows it.
    Body(Bytes),
    /// It was not a request after all.
    NoRequest,
}

/// Answers a request that came when it `begun`, the head to `output`.
async fn answer(front: &mut Front, plain: &Plain<'_>, input: &[u8], begun: Instant, output: &mut Vec<u8>) -> Answer {
    if let Err(why) = front.knock(plain.asked.target(), plain.asked.forwarded_for()) {
        let Some(request) = request(&input[..plain.head], plain.asked.method(), &[]) else { return Answer::NoRequest };
        let refused = Box::pin(front.turn_away(request, why)).await;
        return Answer::Body(write_head(refused, *plain.asked.method() == Method::HEAD, output).await);
    }
    match front.kept(&plain.asked, &input[plain.head..plain.whole], begun, output).await {
        Ok(dressed) => Answer::Body(dressed.body),
        // Boxed, so that a kept answer does not carry the room that making one takes.
        Err(missed) => Box::pin(made(front, plain, input, missed, output)).await,
    }
}

/// Makes the answer to a request that none is kept for.
async fn made(
    front: &mut Front, plain: &Plain<'_>, input: &[u8], missed: Option<Missed>, output: &mut Vec<u8>,
) -> Answer {
    let (asked, body) = (&plain.asked, &input[plain.head..plain.whole]);
    let Some(request) = request(&input[..plain.head], asked.method(), body) else { return Answer::NoRequest };
    let consistency = missed.as_ref().map_or(Consistency::Bounded, |missed| missed.consistency);
    match front.made(request, missed, &asked.conditions(consistency), output).await {
        Ok(dressed) => Answer::Body(dressed.body),
        Err(response) => Answer::Body(write_head(response, *asked.method() == Method::HEAD, output).await),
    }
}

/// The request as handlers take it.
fn request(head: &[u8], method: &Method, body: &[u8]) -> Option<Request> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut slots);
    parsed.parse(head).ok()?;
    let mut request = Request::new(Body::from(Bytes::copy_from_slice(body)));
    *request.method_mut() = method.clone();
    *request.uri_mut() = parsed.path?.parse().ok()?;
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(request)
}

/// Writes the head of an answer that is not a finished one; answers its body.
async fn write_head(response: Response, is_head: bool, output: &mut Vec<u8>) -> Bytes {
    let (mut parts, body) = response.into_parts();
    // A handler's answer is whole already; one that breaks off all the same is a fault of ours.
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_else(|_| {
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        parts.headers.clear();
        Bytes::new()
    });
    output.clear();
    let status = parts.status;
    output.extend_from_slice(
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("")).as_bytes(),
    );
    for (name, value) in &parts.headers {
        line(output, name.as_str(), value.as_bytes());
    }
    if !is_head && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        line(output, "content-length", itoa::Buffer::new().format(body.len()).as_bytes());
    }
    if is_head { Bytes::new() } else { body }
}

/// The `Date` of answers, written once a second.
#[derive(Default)]
struct Date {
    second: i64,
    text: String,
}

impl Date {
    fn now(&mut self) -> &[u8] {
        let now = Utc::now();
        if self.second != now.timestamp() {
            (self.second, self.text) = (now.timestamp(), http_date(now));
        }
        self.text.as_bytes()
    }
}
