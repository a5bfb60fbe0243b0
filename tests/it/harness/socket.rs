//! A client that speaks `graphql-transport-ws`, word by word.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long an answer may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// How a connection ended: the close frame's code and reason.
pub(crate) type Closed = (u16, String);

impl Socket {
    /// Connects to the server of `url`, with these headers beside the protocol's own.
    pub(crate) async fn connect(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, String> {
        let url = format!("{}/graphql", url.replace("http", "ws"));
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let (stream, _) = connect_async(request).await.map_err(|error| error.to_string())?;
        Ok(Self(stream))
    }

    /// A connection of the right protocol that is not introduced yet.
    pub(crate) async fn raw(url: &str) -> Self {
        Self::connect(url, &[("sec-websocket-protocol", "graphql-transport-ws")]).await.expect("a WebSocket")
    }

    /// A connection that may be used.
    pub(crate) async fn open(url: &str) -> Self {
        let mut socket = Self::raw(url).await;
        socket.say(&json!({"type": "connection_init"})).await;
        assert_eq!(socket.hear().await, json!({"type": "connection_ack"}));
        socket
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.say_text(message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: String) {
        self.0.send(Message::text(text)).await.expect("sent");
    }

    pub(crate) async fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.expect("sent");
    }

    /// Closes the connection from this side.
    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.0.send(Message::Close(Some(frame))).await.expect("sent");
    }

    /// Begins an operation.
    pub(crate) async fn begin(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({"query": query, "variables": variables});
        self.say(&json!({"id": id, "type": "subscribe", "payload": payload})).await;
    }

    /// The next message, or how the connection ended instead.
    pub(crate) async fn next(&mut self) -> Result<Value, Closed> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("the server says something");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    return Err((code.into(), reason.to_string()));
                }
                Some(Ok(Message::Close(None))) | None => return Err((1005, String::new())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err((1006, error.to_string())),
            }
        }
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Value {
        self.next().await.unwrap_or_else(|closed| panic!("closed: {closed:?}"))
    }

    /// The data of the next event of operation `id`, which must be the next message.
    pub(crate) async fn event(&mut self, id: &str) -> Value {
        let mut message = self.hear().await;
        assert_eq!((&message["id"], &message["type"]), (&json!(id), &json!("next")), "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"].take()
    }

    /// How the server closes the connection; nothing may come before.
    pub(crate) async fn closed(&mut self) -> Closed {
        match self.next().await {
            Ok(message) => panic!("not closed but: {message}"),
            Err(closed) => closed,
        }
    }

    /// Waits until what was said so far has been heard: messages are heard in order.
    pub(crate) async fn settled(&mut self) {
        self.say(&json!({"type": "ping", "payload": {"n": 7}})).await;
        assert_eq!(self.hear().await, json!({"type": "pong", "payload": {"n": 7}}));
    }
}
