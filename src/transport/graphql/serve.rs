//! `/graphql` over HTTP: POST with a JSON body, GET with a query string.

use std::collections::HashMap;

use async_graphql::parser::types::OperationType;
use async_graphql::{Response as Answer, Value};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::value::RawValue;

use super::execute::{self, Executed, Parameters, Refused};
use super::live;
use super::negotiate::preferred;
use crate::coherence::Consistency;
use crate::domain::caller::Caller;
use crate::error::Error;
use crate::transport::answer::{Hold, finish};
use crate::transport::caller::CONSISTENCY;
use crate::transport::front::Client;
use crate::transport::http::{Served, typed};
use crate::transport::rest::error;

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new().route("/graphql", get(by_query_string).post(by_body)).route("/schema.graphql", get(printed))
}

/// The schema, where it is told.
async fn printed(State(served): State<Served>) -> Response {
    if served.http.introspection {
        typed("text/plain; charset=utf-8", super::sdl())
    } else {
        error::answer(&Error::not_found("this server does not tell its schema; see INTROSPECTION"))
    }
}

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql-response+json";

async fn by_body(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(media) = Media::accepted(&headers) else { return not_acceptable() };
    let body = match body {
        Ok(body) => body,
        Err(refused) => return media.refuse(refused.status(), "PAYLOAD_TOO_LARGE", &refused.body_text()),
    };
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|value| value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(JSON)));
    if !is_json {
        // A form that another site's page submits cannot send this type, which keeps forged requests out.
        let message = "send a JSON body with `Content-Type: application/json`";
        return media.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message);
    }
    if serde_json::from_slice::<&RawValue>(&body).is_ok_and(|value| value.get().starts_with('[')) {
        return media.bad("batches are not supported: send one operation a request");
    }
    match serde_json::from_slice(&body) {
        Ok(parameters) => run(&served, caller, &headers, parameters, media, Via::Body).await,
        Err(fault) => media.bad(&format!("the body is not a GraphQL request: {fault}")),
    }
}

async fn by_query_string(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, RawQuery(query): RawQuery,
    client: Option<Extension<Client>>, upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Ok(upgrade) = upgrade {
        return live::socket::answer(served, &headers, client.map(|Extension(client)| client), upgrade);
    }
    let Some(media) = Media::accepted(&headers) else { return not_acceptable() };
    let query = query.unwrap_or_default();
    let mut given = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
        if let Some(twice) = given.insert(name.clone(), value).and(Some(name)).filter(|name| NAMES.contains(&&**name)) {
            return media.bad(&format!("`{twice}` is given twice"));
        }
    }
    let mut json = |name: &str| {
        let text = given.remove(name).filter(|text| !text.is_empty());
        let value = text.map(|text| serde_json::from_str(&text)).transpose();
        value.map_err(|fault| format!("`{name}` is not JSON: {fault}"))
    };
    let (variables, extensions) = match (json("variables"), json("extensions")) {
        (Ok(variables), Ok(extensions)) => (variables, extensions),
        (Err(why), _) | (_, Err(why)) => return media.bad(&why),
    };
    let parameters = Parameters {
        query: given.remove("query"),
        document_id: given.remove("documentId"),
        operation_name: given.remove("operationName"),
        variables,
        extensions,
    };
    run(&served, caller, &headers, parameters, media, Via::QueryString).await
}

/// The parameters of a request in a query string.
const NAMES: [&str; 5] = ["query", "documentId", "operationName", "variables", "extensions"];

fn not_acceptable() -> Response {
    let message =
        format!("what is answered here is {GRAPHQL}, {JSON} or text/event-stream, and `Accept` takes none of them");
    Media::Json.refuse(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", &message)
}

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Body,
    /// A link, which anybody can make somebody follow.
    QueryString,
}

async fn run(
    served: &Served, caller: Caller, headers: &HeaderMap, parameters: Parameters, media: Media, via: Via,
) -> Response {
    let prepared = match execute::prepare(served, caller, parameters).await {
        Ok(prepared) => prepared,
        Err(refused) => return media.refused(&refused),
    };
    if media == Media::Events {
        return live::events::answer(served, prepared, headers, via == Via::QueryString).await;
    }
    if prepared.is(OperationType::Mutation) && via == Via::QueryString {
        let message = "a mutation must be sent with POST";
        let mut refused = media.refuse(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message);
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return refused;
    }
    if prepared.is(OperationType::Subscription) {
        let message =
            "a subscription needs `Accept: text/event-stream`, or a WebSocket of the protocol graphql-transport-ws";
        return media.refused(&Refused::Invalid(message.into()));
    }
    let most = served.http.response_limit;
    match prepared.execute(served).await {
        Executed::Data(data) => media.data(&data, prepared.caller, prepared.demand),
        Executed::Read(answer) => media.answer(answer, prepared.caller, prepared.demand, most),
        Executed::Written(answer, token) => media.written(answer, token, most),
    }
}

/// The media type the client prefers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Graphql,
    /// A stream of answers, each an event that a server sends.
    Events,
}

impl Media {
    /// The one that `Accept` likes best, if it takes any. Who accepts a stream of events and nothing else of ours is
    /// answered by one.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let said: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let accept = said.join(",");
        if live::events::is_accepted(accept.as_bytes()) {
            return Some(Self::Events);
        }
        preferred(&accept, &[JSON, GRAPHQL]).map(|place| [Self::Json, Self::Graphql][place])
    }

    fn name(self) -> &'static str {
        match self {
            // What is refused before there is a stream is told as JSON.
            Self::Json | Self::Events => "application/json; charset=utf-8",
            Self::Graphql => "application/graphql-response+json; charset=utf-8",
        }
    }

    /// A request that was executed, or refused by validation. The newer type tells the latter by its status; with plain
    /// JSON every well-formed answer is a 200.
    fn answer(self, mut answer: Answer, caller: Caller, demand: Consistency, most: usize) -> Response {
        if caller.ledger().is_unverified() {
            answer.extensions.insert("stale".into(), Value::Boolean(true));
        }
        let (bytes, is_refusal) = execute::json(&answer, most);
        if answer.is_ok() && !is_refusal {
            return finish(self.name(), bytes, caller, demand, Hold::Least, None);
        }
        self.told(&answer, is_refusal, bytes)
    }

    /// What is nobody else's answer, and nobody's twice: `bytes` of `answer`. With plain JSON every well-formed answer is a 200,
    /// which says all the same when it is worth asking again.
    fn told(self, answer: &Answer, is_refusal: bool, bytes: Vec<u8>) -> Response {
        let status = if self == Self::Graphql && is_refusal { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let headers = [(header::CONTENT_TYPE, self.name()), (header::CACHE_CONTROL, "no-store")];
        let mut response = (status, headers, bytes).into_response();
        if execute::is_unavailable(answer) {
            response.headers_mut().insert(header::RETRY_AFTER, error::RETRY_AFTER);
        }
        response
    }

    /// What a mutation answered, with the token of what it wrote last.
    fn written(self, answer: Answer, token: Option<String>, most: usize) -> Response {
        let answer = execute::with_token(answer, token.clone());
        let (bytes, is_refusal) = execute::json(&answer, most);
        let mut response = self.told(&answer, is_refusal, bytes);
        if let Some(token) = token.and_then(|token| HeaderValue::try_from(token).ok()) {
            response.headers_mut().insert(HeaderName::from_static(CONSISTENCY), token);
        }
        response
    }

    /// What a plan answered.
    fn data(self, data: &[u8], caller: Caller, demand: Consistency) -> Response {
        let rest: &[u8] = if caller.ledger().is_unverified() { br#","extensions":{"stale":true}}"# } else { b"}" };
        let bytes = [br#"{"data":"#, data, rest].concat();
        finish(self.name(), bytes, caller, demand, Hold::Least, None)
    }

    fn bad(self, message: &str) -> Response {
        self.refuse(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    fn refused(self, refused: &Refused) -> Response {
        let status = match refused {
            Refused::Fault(error) => return crate::transport::rest::error::answer(error),
            // With plain JSON Apollo's clients expect a 200.
            Refused::NotPersisted if self == Self::Json => StatusCode::OK,
            Refused::Invalid(_) if self != Self::Graphql => StatusCode::OK,
            Refused::Bad(_) | Refused::Invalid(_) | Refused::NotPersisted => StatusCode::BAD_REQUEST,
            Refused::Untrusted => StatusCode::FORBIDDEN,
        };
        let (code, message) = refused.told();
        self.refuse(status, &code, message)
    }

    /// A request that is not one: told in GraphQL's own form.
    fn refuse(self, status: StatusCode, code: &str, message: &str) -> Response {
        let body = serde_json::json!({"errors": [execute::told(code, message)]}).to_string();
        (status, [(header::CONTENT_TYPE, self.name()), (header::CACHE_CONTROL, "no-store")], body).into_response()
    }
}
