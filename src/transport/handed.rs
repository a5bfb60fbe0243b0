//! Connections that the short way does not take: hyper serves them, from what was read of them already.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::drain::{Phase, Watch};
use super::front::Front;
use super::wire::LAST_LOOK;

/// How long a connection of HTTP/2 is silent before its client is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves a connection until it ends, or, once the server stops, until what it has asked for is answered. A request may
/// take `idle` to come, and so long may a connection lie still.
///
/// While the server drains, HTTP/1.1 is told with the next answer that it was the last. HTTP/2 is told at once (GOAWAY), but
/// not before its first request: what is said before that ends the connection.
pub(super) async fn serve(rest: Rest, idle: Duration, front: Front, watch: Watch) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(idle);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(SILENCE).enable_connect_protocol();
    let spoke_http2 = Arc::new(Notify::new());
    let service = service_fn(|request: Request<Incoming>| {
        let is_http2 = request.version() == Version::HTTP_2;
        if is_http2 {
            spoke_http2.notify_one();
        }
        let (answer, watch) = (front.clone().call(request.map(Body::new)), watch.clone());
        async move {
            let mut response = answer.await;
            if let Ok(response) = &mut response
                && !is_http2
                && watch.is_ending()
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    });
    let mut connection = pin!(server.serve_connection_with_upgrades(TokioIo::new(rest), service));
    let stopped = async {
        watch.reached(Phase::Stopping).await;
        tokio::time::sleep(LAST_LOOK).await;
    };
    let drained = async {
        watch.reached(Phase::Draining).await;
        spoke_http2.notified().await;
    };
    tokio::select! {
        // In this order: a request that has come whole is begun before hyper is told to begin no more.
        biased;
        _its_end = connection.as_mut() => return,
        () = drained => connection.as_mut().graceful_shutdown(),
        () = stopped => connection.as_mut().graceful_shutdown(),
    }
    // A client that breaks off or sends nonsense is no news.
    let _its_end = connection.await;
}

/// A connection of which some bytes were read. It breaks off when nothing moves on it for too long.
pub(super) struct Rest {
    read: Vec<u8>,
    /// How many of them were read again.
    again: usize,
    stream: TcpStream,
    /// How long it may lie still.
    limit: Duration,
    /// When it moved last. The timer is set anew only when it has run out, since things move often.
    moved: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Rest {
    pub(super) fn new(read: Vec<u8>, stream: TcpStream, limit: Duration) -> Self {
        Self { read, again: 0, stream, limit, moved: Instant::now(), timer: Box::pin(tokio::time::sleep(limit)) }
    }

    /// `outcome`; an error when it is to be waited for and nothing has moved for too long.
    fn moves<T>(&mut self, outcome: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.moved = Instant::now();
            return outcome;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let until = self.moved + self.limit;
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl AsyncRead for Rest {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = &self.read[self.again..];
        if left.is_empty() {
            let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
            return self.moves(outcome, cx);
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
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.moves(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.moves(outcome, cx)
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
