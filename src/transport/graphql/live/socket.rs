//! Operations over a WebSocket, by the protocol `graphql-transport-ws`
//! (github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md). One task a connection: while an answer waits to be taken nothing
//! else is read or made, so that a client can hold no more than its operations and one answer.

use std::collections::HashMap;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Response as Answer, ServerError};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{FutureExt, Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{Live, Ready};
use crate::error::{Error, Kind};
use crate::transport::caller;
use crate::transport::front::Client;
use crate::transport::graphql::execute::{self, Executed, Parameters, Prepared, Refused, told};
use crate::transport::http::Served;
use crate::transport::rest::error;

/// The subprotocol.
const PROTOCOL: &str = "graphql-transport-ws";

/// How long a client may take to introduce itself, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most operations of a connection at a time.
const MAX_OPERATIONS: usize = 100;

/// Longest identifier of an operation, bytes.
const MAX_ID: usize = 200;

/// Bytes read at once: there are many connections, and most of them are silent.
const READ_BUFFER: usize = 4 << 10;

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    ConnectionInit { payload: Option<Value> },
    Ping { payload: Option<Value> },
    Pong,
    Subscribe { id: String, payload: Parameters },
    Complete { id: String },
}

/// What an operation comes to. After all but the first it is over.
enum Outcome {
    Next(String),
    Errors(Vec<ServerError>),
    Complete,
    TooSlow,
}

/// Why a connection is closed, and what is said of it.
struct Closing(u16, String);

fn closing<T>(code: u16, reason: impl Into<String>) -> Result<T, Closing> {
    Err(Closing(code, reason.into()))
}

/// A connection that cannot be read from any further: closed with the code that RFC 6455 (section 7.4.1) has for it, or as
/// it is when the other side is gone. What was wrong is known by the first words of what the library says.
fn broken(cause: &str) -> Result<(), Closing> {
    match cause {
        _ if cause.starts_with("Space limit exceeded") => closing(1009, "the message is too long; see BODY_SIZE_LIMIT"),
        _ if cause.starts_with("UTF-8") => closing(1007, "the message is not UTF-8"),
        _ if cause.starts_with("WebSocket protocol error") && !cause.contains("closing handshake") => {
            closing(1002, "the frame breaks the protocol")
        }
        _ => Ok(()),
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy)]
struct From {
    /// Not from a page of somebody else's.
    is_local: bool,
    /// Whose it is, as far as the door knows.
    client: Option<Client>,
}

/// Takes a request for a WebSocket.
pub(in crate::transport::graphql) fn answer(
    served: Served, headers: &HeaderMap, client: Option<Client>, upgrade: WebSocketUpgrade,
) -> Response {
    let origins = &served.http.cors_origins;
    let is_welcome = |origin: &str| origins.is_empty() || origins.iter().any(|own| own == origin);
    // What CORS is to requests a WebSocket has to see to itself.
    if !headers.get_all(header::ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(is_welcome)) {
        let message = "pages of this origin are not served; see CORS_ORIGINS";
        return error::answer(&Error::new(Kind::Forbidden, "forbidden", message));
    }
    let from = From { is_local: caller::is_local(headers), client };
    let limit = served.http.body_limit;
    let upgrade = upgrade.protocols([PROTOCOL]).read_buffer_size(READ_BUFFER);
    upgrade.max_message_size(limit).max_frame_size(limit).on_upgrade(move |socket| serve(socket, served, from))
}

async fn serve(mut socket: WebSocket, served: Served, from: From) {
    // Held until the connection is closed: the server waits for that when it stops.
    let mut ending = served.app.feed.changes().ending();
    metrics::gauge!("overlay_websockets").increment(1);
    let mut connection = Connection::new(served, from);
    let Closing(code, reason) = tokio::select! {
        closing = connection.run(&mut socket) => closing,
        _ = ending.wait_for(|ended| *ended) => Closing(1001, "the server is about to stop".into()),
    };
    // What is still open is not completed, so that the client comes back for it.
    drop(connection);
    metrics::counter!("overlay_websocket_closings_total", "code" => code.to_string()).increment(1);
    let reason = reason.chars().take(100).collect::<String>();
    let close = async {
        // Refused where the client was first; the answer to its own close is sent by the next read.
        let _sent = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
        // Until the client has closed too: what it says meanwhile is of no use.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _closed_or_gone = timeout(PATIENCE / 5, close).await;
    metrics::gauge!("overlay_websockets").decrement(1);
}

struct Connection {
    served: Served,
    from: From,
    /// The session that it was opened within.
    sid: Option<String>,
    is_open: bool,
    operations: HashMap<String, AbortHandle>,
    outcomes: SelectAll<BoxStream<'static, (String, Outcome)>>,
    /// When the client said something last.
    heard: Instant,
}

impl Connection {
    fn new(served: Served, from: From) -> Self {
        let (operations, outcomes, heard) = (HashMap::new(), SelectAll::new(), Instant::now());
        Self { served, from, sid: None, is_open: false, operations, outcomes, heard }
    }

    async fn run(&mut self, socket: &mut WebSocket) -> Closing {
        match self.converse(socket).await {
            Err(closing) => closing,
            Ok(()) => Closing(1000, String::new()),
        }
    }

    /// Until the client is gone or is to be sent away.
    async fn converse(&mut self, socket: &mut WebSocket) -> Result<(), Closing> {
        if socket.protocol().is_none() {
            return closing(4406, format!("the subprotocol must be {PROTOCOL}"));
        }
        let pause = Duration::from_secs(12).min(self.served.http.idle / 3);
        let begun = Instant::now();
        let mut beat = tokio::time::interval_at(begun + pause, pause);
        loop {
            tokio::select! {
                said = socket.recv() => match said {
                    None | Some(Ok(Message::Close(_))) => return Ok(()),
                    Some(Err(error)) => return broken(&error.to_string()),
                    Some(Ok(said)) => {
                        self.heard = Instant::now();
                        if let Message::Text(text) = said {
                            self.hear(&text, socket).await?;
                        } else if let Message::Binary(_) = said {
                            return closing(4400, "messages are text");
                        }
                    }
                },
                Some((id, outcome)) = self.outcomes.next() => self.tell(id, outcome, socket).await?,
                _ = beat.tick() => {
                    // A client that is there answers a ping, whatever else it has to say.
                    if self.heard.elapsed() > 3 * pause {
                        return closing(1001, "nothing was heard for too long");
                    }
                    send(socket, Message::Ping(Vec::new().into())).await?;
                }
                () = tokio::time::sleep_until(begun + PATIENCE), if !self.is_open => {
                    return closing(4408, "Connection initialisation timeout");
                }
            }
        }
    }

    async fn hear(&mut self, text: &str, socket: &mut WebSocket) -> Result<(), Closing> {
        let said = match serde_json::from_str(text) {
            Ok(said) => said,
            Err(cause) => return closing(4400, format!("Invalid message received: {cause}")),
        };
        match said {
            Said::ConnectionInit { .. } if self.is_open => closing(4429, "Too many initialisation requests"),
            Said::ConnectionInit { payload } => {
                self.admit(payload.as_ref()).await?;
                self.is_open = true;
                send(socket, text_of(&json!({"type": "connection_ack"}))).await
            }
            Said::Ping { payload } => send(socket, text_of(&json!({"type": "pong", "payload": payload}))).await,
            Said::Pong => Ok(()),
            Said::Subscribe { .. } if !self.is_open => closing(4401, "Unauthorized"),
            Said::Subscribe { id, .. } if id.is_empty() || id.len() > MAX_ID => {
                closing(4400, format!("an operation's `id` must be 1 to {MAX_ID} bytes"))
            }
            Said::Subscribe { id, .. } if self.operations.contains_key(&id) => {
                closing(4409, format!("Subscriber for {id} already exists"))
            }
            Said::Subscribe { id, .. } if self.operations.len() >= MAX_OPERATIONS => {
                let message = format!("a connection may have {MAX_OPERATIONS} operations at a time");
                send(socket, errors(&id, &[told("TOO_MANY_OPERATIONS", &message)])).await
            }
            Said::Subscribe { id, payload } => {
                self.begin(id, payload).await;
                Ok(())
            }
            Said::Complete { id } => {
                if let Some(operation) = self.operations.remove(&id) {
                    operation.abort();
                }
                Ok(())
            }
        }
    }

    /// Looks at the session that a client introduces itself with, if it names any.
    async fn admit(&mut self, payload: Option<&Value>) -> Result<(), Closing> {
        let given = payload.and_then(Value::as_object).into_iter().flatten();
        let Some((_, value)) = given.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization")) else {
            return Ok(());
        };
        let sid = value.as_str().and_then(|value| caller::secret(value).ok());
        let Some(sid) = sid else { return closing(4403, "Forbidden: `authorization` must be `Bearer <sid>`") };
        match self.served.app.sessions.resume(sid).await {
            Ok(_) => {
                self.sid = Some(sid.to_owned());
                Ok(())
            }
            Err(error) => closing(4403, format!("Forbidden: {}", error.message())),
        }
    }

    async fn begin(&mut self, id: String, parameters: Parameters) {
        let caller = caller::within(&self.served, self.sid.as_deref(), self.from.is_local).await;
        let served = self.served.clone();
        // An operation is what a request is elsewhere.
        let counted = self.from.client.map_or(Ok(()), |Client(client)| served.door.knock(client));
        let counted = counted.and_then(|()| served.door.show(&caller));
        let outcomes = async move {
            let prepared = match counted {
                Ok(()) => execute::prepare(&served, caller, parameters).await,
                Err(error) => Err(Refused::Fault(error)),
            };
            match prepared {
                Ok(prepared) => operate(served, prepared).await,
                Err(refused) => {
                    let (code, message) = refused.told();
                    only(Outcome::Errors(vec![told(&code, message)]))
                }
            }
        };
        let named = id.clone();
        let outcomes = outcomes.flatten_stream().map(move |outcome| (named.clone(), outcome));
        let (handle, registration) = AbortHandle::new_pair();
        self.outcomes.push(Abortable::new(outcomes, registration).boxed());
        self.operations.insert(id, handle);
    }

    async fn tell(&mut self, id: String, outcome: Outcome, socket: &mut WebSocket) -> Result<(), Closing> {
        if !matches!(outcome, Outcome::Next(_)) {
            self.operations.remove(&id);
        }
        match outcome {
            Outcome::Next(answer) => {
                let id = json!(id);
                send(socket, Message::Text(format!(r#"{{"id":{id},"type":"next","payload":{answer}}}"#).into())).await
            }
            Outcome::Errors(told) => send(socket, errors(&id, &told)).await,
            Outcome::Complete => send(socket, text_of(&json!({"id": id, "type": "complete"}))).await,
            Outcome::TooSlow => closing(1013, "too slow: more has changed than is kept; go on with `since`"),
        }
    }
}

/// What an operation that may be executed comes to.
async fn operate(served: Served, prepared: Prepared) -> BoxStream<'static, Outcome> {
    if prepared.is(OperationType::Subscription) {
        return match Live::open(&served, prepared).await {
            Ok(live) => follow(live).boxed(),
            Err(errors) => only(Outcome::Errors(errors)),
        };
    }
    let (limit, most) = (served.http.timeout, served.http.response_limit);
    let answer = match timeout(limit, prepared.execute(&served)).await {
        Err(_) => return only(Outcome::Errors(vec![told("TIMEOUT", "the operation took too long")])),
        Ok(Executed::Data(data)) => format!(r#"{{"data":{}}}"#, String::from_utf8_lossy(&data)),
        // What was refused before anything was executed.
        Ok(Executed::Read(answer) | Executed::Written(answer, _)) if execute::is_refusal(&answer) => {
            return only(Outcome::Errors(answer.errors));
        }
        Ok(Executed::Read(answer)) => written(&answer, most),
        Ok(Executed::Written(answer, token)) => written(&execute::with_token(answer, token), most),
    };
    stream::iter([Outcome::Next(answer), Outcome::Complete]).boxed()
}

fn only(outcome: Outcome) -> BoxStream<'static, Outcome> {
    stream::iter([outcome]).boxed()
}

/// A subscription's events.
fn follow(live: Live) -> impl Stream<Item = Outcome> + Send {
    stream::unfold(Some(live), |live| async move {
        let mut live = live?;
        match live.ready().await? {
            Ready::Event => {
                let (answer, _) = live.tell().await;
                Some((Outcome::Next(written(&answer, live.most())), Some(live)))
            }
            Ready::TooSlow => Some((Outcome::TooSlow, None)),
        }
    })
}

fn written(answer: &Answer, most: usize) -> String {
    String::from_utf8_lossy(&execute::json(answer, most).0).into_owned()
}

fn text_of(message: &Value) -> Message {
    Message::Text(message.to_string().into())
}

fn errors(id: &str, errors: &[ServerError]) -> Message {
    text_of(&json!({"id": id, "type": "error", "payload": errors}))
}

/// Sends a message; a client that takes nothing for too long is not waited for.
async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Closing> {
    match timeout(PATIENCE, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => closing(1006, "the connection is gone"),
        Err(_) => closing(1013, "too slow: nothing is taken"),
    }
}
