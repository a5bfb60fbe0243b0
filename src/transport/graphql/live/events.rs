//! Subscriptions, and any other operation, as events that a server sends (SSE), in the distinct-connections mode of the
//! protocol of graphql-sse (github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md): `next` carries an answer, `complete`
//! ends. The id of an event is its token: a browser's `EventSource` that lost its connection sends it as `Last-Event-ID`, and
//! goes on from there.

use std::convert::Infallible;
use std::time::Duration;

use async_graphql::Response as Answer;
use async_graphql::parser::types::OperationType;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::watch;

use super::{Live, Ready};
use crate::coherence::Position;
use crate::transport::graphql::execute::{Executed, Prepared, json, told};
use crate::transport::http::Served;

/// The media type.
const EVENTS: &[u8] = b"text/event-stream";

/// Where an `EventSource` says how far it came.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whether a request's `Accept` asks for a stream of events, and for nothing else that is answered here.
pub(in crate::transport) fn is_accepted(accept: &[u8]) -> bool {
    let has = |wanted: &[u8]| accept.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted));
    has(EVENTS) && !has(b"json")
}

/// The answer to a request for events.
pub(in crate::transport::graphql) async fn answer(
    served: &Served, prepared: Prepared, headers: &HeaderMap, by_link: bool,
) -> Response {
    let most = served.http.response_limit;
    if prepared.is(OperationType::Subscription) {
        let mut live = match Live::open(served, prepared).await {
            Ok(live) => live,
            Err(errors) => return once(next(&Answer::from_errors(errors), most)),
        };
        if let Some(last) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
            live.resume(last.to_str().ok().and_then(Position::parse)).await;
        }
        let ending = served.app.feed.changes().ending();
        return response(follow(live, ending, pause(served), most));
    }
    if prepared.is(OperationType::Mutation) && by_link {
        let error = told("METHOD_NOT_ALLOWED", "a mutation must be sent with POST");
        return once(next(&Answer::from_errors(vec![error]), most));
    }
    match prepared.execute(served).await {
        Executed::Data(data) => {
            once(Event::default().event("next").data(text(&[br#"{"data":"#, &data[..], b"}"].concat())))
        }
        Executed::Read(answer) | Executed::Written(answer, _) => once(next(&answer, most)),
    }
}

/// How long nothing is said before a sign of life is given: often enough that nobody on the way takes the connection for
/// dead.
fn pause(served: &Served) -> Duration {
    Duration::from_secs(12).min(served.http.idle / 3)
}

fn next(answer: &Answer, most: usize) -> Event {
    Event::default().event("next").data(text(&json(answer, most).0))
}

/// JSON has no line breaks of its own, which an event's data could not hold.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn complete() -> Event {
    // Without data, browsers would drop it.
    Event::default().event("complete").data("")
}

fn once(event: Event) -> Response {
    response(stream::iter([Ok(event), Ok(complete())]))
}

fn response(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let mut response = Sse::new(events).into_response();
    // Proxies that gather an answer before they pass it on would keep events back.
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    *response.status_mut() = StatusCode::OK;
    response
}

/// A subscription's events. It ends without `complete` when the server stops or the client is too slow, so that the client
/// comes back for the rest. Nothing is gathered: the next event is made once the last one is on its way.
fn follow(
    live: Live, ending: watch::Receiver<bool>, pause: Duration, most: usize,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let begun = Event::default().comment("subscribed").id(live.position().to_string());
    let events = stream::unfold((live, ending), move |(mut live, ending)| async move {
        let event = match tokio::time::timeout(pause, live.ready()).await {
            Err(_) => Event::default().comment("").id(live.position().to_string()),
            Ok(Some(Ready::Event)) => {
                let (answer, position) = live.tell().await;
                next(&answer, most).id(position.to_string())
            }
            Ok(Some(Ready::TooSlow) | None) => return None,
        };
        Some((Ok(event), (live, ending)))
    });
    stream::StreamExt::chain(stream::iter([Ok(begun)]), events)
}
