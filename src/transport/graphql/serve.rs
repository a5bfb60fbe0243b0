//! `/graphql` over HTTP: POST with a JSON body, GET with a query string.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::parser::types::{BaseType, OperationDefinition, VariableDefinition};
use async_graphql::{Name, Positioned, Request, Response as Answer, ServerError, Value};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::value::RawValue;

use super::documents::Refusal;
use super::loaders::Loaders;
use super::persisted;
use super::publish::Committed;
use crate::coherence::Consistency;
use crate::domain::caller::Caller;
use crate::error::{Error, Kind};
use crate::transport::answer::{Hold, finish};
use crate::transport::caller::CONSISTENCY;
use crate::transport::http::{Served, typed};

pub(in crate::transport) fn routes() -> Router<Served> {
    Router::new()
        .route("/graphql", get(by_query_string).post(by_body))
        .route("/schema.graphql", get(|| async { typed("text/plain; charset=utf-8", super::sdl()) }))
}

const JSON: &str = "application/json";
const GRAPHQL: &str = "application/graphql-response+json";

/// A request's parameters, as the GraphQL-over-HTTP draft names them.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<serde_json::Value>,
    extensions: Option<serde_json::Value>,
}

async fn by_body(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let media = Media::accepted(&headers);
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
        Ok(parameters) => run(&served, caller, parameters, media, Via::Body).await,
        Err(fault) => media.bad(&format!("the body is not a GraphQL request: {fault}")),
    }
}

async fn by_query_string(
    State(served): State<Served>, Extension(caller): Extension<Caller>, headers: HeaderMap, RawQuery(query): RawQuery,
) -> Response {
    let media = Media::accepted(&headers);
    let query = query.unwrap_or_default();
    let mut given: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
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
    run(&served, caller, parameters, media, Via::QueryString).await
}

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Body,
    /// A link, which anybody can make somebody follow.
    QueryString,
}

async fn run(served: &Served, caller: Caller, parameters: Parameters, media: Media, via: Via) -> Response {
    let Parameters { query, document_id, operation_name, variables, extensions } = parameters;
    let (demand, caller) = match demanded(served, extensions.as_ref()).await {
        Ok(None) => (Consistency::Bounded, caller),
        Ok(Some(demand)) => (demand, caller.with(demand)),
        Err(error) if error.kind() == Kind::Invalid => return media.bad(error.message()),
        Err(error) => return crate::transport::rest::error::answer(&error),
    };
    if !matches!(extensions, None | Some(serde_json::Value::Null | serde_json::Value::Object(_))) {
        return media.bad("`extensions` must be a JSON object");
    }
    let named = persisted::Named { query, document_id, extensions: extensions.as_ref() };
    let persisted::Asked { query, keep_as } = match served.persisted.asked(named).await {
        Ok(asked) => asked,
        Err(persisted::Refusal::Bad(why)) => return media.bad(why),
        Err(persisted::Refusal::NotFound) => return media.not_persisted(),
        Err(persisted::Refusal::Untrusted) => {
            let message = "the document is not on this server's safelist";
            return media.refuse(StatusCode::FORBIDDEN, "DOCUMENT_NOT_TRUSTED", message);
        }
    };
    let document = match served.documents.get(&query) {
        Ok(document) => {
            if let Some(hash) = keep_as {
                served.persisted.keep(hash, &query).await;
            }
            Some(document)
        }
        Err(Refusal::Unparsed) => None,
        Err(Refusal::Beyond(why)) => return media.bad(&why),
    };
    let variables = match variables {
        None | Some(serde_json::Value::Null) => async_graphql::Variables::default(),
        Some(value @ serde_json::Value::Object(_)) => async_graphql::Variables::from_json(value),
        Some(_) => return media.bad("`variables` must be a JSON object"),
    };
    let operation_name = operation_name.filter(|name| !name.is_empty());
    let writes = document.as_ref().is_some_and(|known| known.writes(operation_name.as_deref()));
    if writes && via == Via::QueryString {
        let message = "a mutation must be sent with POST";
        let mut refused = media.refuse(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message);
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return refused;
    }
    if let Some(plan) = document.as_ref().and_then(|document| document.plan())
        && let Some(data) = plan.execute(operation_name.as_deref(), &served.app, &caller, &variables).await
    {
        metrics::counter!("overlay_graphql_executions_total", "by" => "plan").increment(1);
        return media.data(&data, caller, demand);
    }
    metrics::counter!("overlay_graphql_executions_total", "by" => "general").increment(1);
    let loaders = Loaders::new(served.app.clone(), caller.clone());
    let committed = Arc::new(Committed::default());
    let mut request = Request::new(query).variables(variables).data(loaders).data(committed.clone());
    if let Some(name) = operation_name {
        request = request.operation_name(name);
    }
    if let Some(known) = &document {
        request.set_parsed_query(known.document.clone());
    }
    let answer = match settle_variables(&mut request) {
        Ok(()) => served.schema.execute(request).await,
        Err(error) => Answer::from_errors(vec![error]),
    };
    if let Some(known) = document.filter(|_| answer.is_ok() && !writes) {
        known.prove();
    }
    if writes {
        return media.written(answer, committed.token());
    }
    media.answer(answer, caller, demand)
}

/// How fresh `extensions.consistency` asks the answer to be, once reads are that fresh.
async fn demanded(
    served: &Served, extensions: Option<&serde_json::Value>,
) -> crate::error::Result<Option<Consistency>> {
    let Some(wanted) = extensions.and_then(|e| e.get("consistency")) else { return Ok(None) };
    let demand = wanted.as_str().and_then(Consistency::parse);
    let demand =
        demand.ok_or_else(|| Error::invalid(format!("`extensions.consistency` must be {}", Consistency::FORMS)))?;
    served.app.feed.reach(demand).await?;
    Ok(Some(demand))
}

/// Does with the variables what async-graphql does not: refuses a required one that is absent, before anything is
/// executed; and gives `null` to a number that was left out. To leave an optional one out is the client's right, but the
/// library's reckoning of complexity refuses a document when it meets one in an argument that a cost depends on, also in
/// an operation that was not chosen. Those arguments are all of type `Int`, and none has a default, so `null` means the
/// same as nothing.
fn settle_variables(request: &mut Request) -> Result<(), ServerError> {
    let chosen = request.operation_name.clone();
    // What cannot be parsed, and an operation that is not there, are refused by the execution.
    let Ok(document) = request.parsed_query() else { return Ok(()) };
    let is_chosen =
        |name: Option<&Name>| chosen.as_deref().is_none_or(|chosen| name.is_some_and(|name| name == chosen));
    let (of_chosen, of_others): (Vec<_>, Vec<_>) = document.operations.iter().partition(|(name, _)| is_chosen(*name));
    let definitions = |operations: Vec<(_, &Positioned<OperationDefinition>)>| -> Vec<VariableDefinition> {
        operations.iter().flat_map(|(_, o)| &o.node.variable_definitions).map(|d| d.node.clone()).collect()
    };
    let (own, others) = (definitions(of_chosen), definitions(of_others));
    let int = BaseType::Named(Name::new("Int"));
    for VariableDefinition { name, var_type, default_value, .. } in &own {
        let is_absent = match request.variables.get(&name.node) {
            None => default_value.is_none(),
            Some(value) => *value == Value::Null,
        };
        if is_absent && !var_type.node.nullable {
            let message = format!("the variable `${}` of type `{}` is required", name.node, var_type.node);
            return Err(ServerError::new(message, Some(name.pos)));
        }
        if is_absent && var_type.node.base == int {
            request.variables.insert(name.node.clone(), Value::Null);
        }
    }
    for VariableDefinition { name, var_type, .. } in others {
        if var_type.node.base == int && own.iter().all(|d| d.name.node != name.node) {
            request.variables.entry(name.node).or_insert(Value::Null);
        }
    }
    Ok(())
}

/// The media type the client prefers.
#[derive(Clone, Copy)]
enum Media {
    Json,
    Graphql,
}

impl Media {
    /// The one that comes first in `Accept`; JSON when neither is named.
    fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        match (accept.find(GRAPHQL), accept.find(JSON)) {
            (Some(graphql), json) if json.is_none_or(|json| graphql < json) => Self::Graphql,
            _ => Self::Json,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Graphql => "application/graphql-response+json; charset=utf-8",
        }
    }

    /// A request that was executed, or refused by validation. The newer type tells the latter by its status; with plain
    /// JSON every well-formed answer is a 200.
    fn answer(self, mut answer: Answer, caller: Caller, demand: Consistency) -> Response {
        let refused = answer.is_err() && answer.data == Value::Null && no_path(&answer);
        let status = match self {
            Self::Graphql if refused => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        if caller.ledger().is_unverified() {
            answer.extensions.insert("stale".into(), Value::Boolean(true));
        }
        let bytes = match written(&answer, refused) {
            Ok(bytes) => bytes,
            Err(cause) => return crate::transport::rest::error::answer(&Error::internal(cause)),
        };
        if answer.is_ok() {
            return finish(self.name(), bytes, caller, demand, Hold::Least, None);
        }
        (status, [(header::CONTENT_TYPE, self.name()), (header::CACHE_CONTROL, "no-store")], bytes).into_response()
    }

    /// What a mutation answered, with the token of what it wrote last. It is nobody else's answer, and nobody's twice.
    fn written(self, mut answer: Answer, token: Option<String>) -> Response {
        let refused = answer.is_err() && answer.data == Value::Null && no_path(&answer);
        let status = if matches!(self, Self::Graphql) && refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        if let Some(token) = &token {
            answer.extensions.insert("consistency".into(), Value::String(token.clone()));
        }
        let bytes = match written(&answer, refused) {
            Ok(bytes) => bytes,
            Err(cause) => return crate::transport::rest::error::answer(&Error::internal(cause)),
        };
        let mut response =
            (status, [(header::CONTENT_TYPE, self.name()), (header::CACHE_CONTROL, "no-store")], bytes).into_response();
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

    /// A hash that no document is known of. Apollo's clients look for these words.
    fn not_persisted(self) -> Response {
        let status = if matches!(self, Self::Graphql) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        self.refuse(status, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
    }

    /// A request that is not one: told in GraphQL's own form.
    fn refuse(self, status: StatusCode, code: &str, message: &str) -> Response {
        let mut error = ServerError::new(message, None);
        let mut extensions = async_graphql::ErrorExtensionValues::default();
        extensions.set("code", code);
        error.extensions = Some(extensions);
        let body = serde_json::json!({"errors": [error]}).to_string();
        (status, [(header::CONTENT_TYPE, self.name()), (header::CACHE_CONTROL, "no-store")], body).into_response()
    }
}

/// The answer's bytes. What was refused before anything was executed has no `data`, not even null.
fn written(answer: &Answer, refused: bool) -> serde_json::Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct Refused<'a> {
        errors: &'a [ServerError],
    }
    if refused { serde_json::to_vec(&Refused { errors: &answer.errors }) } else { serde_json::to_vec(answer) }
}

/// An error with a path arose in execution, one without before it.
fn no_path(answer: &Answer) -> bool {
    answer.errors.iter().all(|error| error.path.is_empty())
}
