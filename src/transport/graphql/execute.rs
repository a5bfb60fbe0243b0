//! From a request's parameters to its answer, whichever way it came.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_graphql::parser::types::{BaseType, OperationDefinition, OperationType, VariableDefinition};
use async_graphql::{
    ErrorExtensionValues, Name, Positioned, Request, Response as Answer, ServerError, Value, Variables,
};

use super::documents::{Known, Refusal};
use super::live::Begun;
use super::loaders::{Loaders, Room, Writer};
use super::persisted;
use super::publish::Committed;
use crate::coherence::Consistency;
use crate::db::tally;
use crate::domain::caller::Caller;
use crate::error::{Error, Kind};
use crate::transport::http::Served;

/// A request's parameters, as the GraphQL-over-HTTP draft names them.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    pub(super) query: Option<String>,
    pub(super) document_id: Option<String>,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Option<serde_json::Value>,
    pub(super) extensions: Option<serde_json::Value>,
}

/// Why a request is not executed.
pub(super) enum Refused {
    /// It is not one, or is beyond a limit.
    Bad(String),
    /// Its document does not pass validation.
    Invalid(String),
    /// Its document is named by a hash that none is known of. Apollo's clients look for the words.
    NotPersisted,
    /// Its document is not on the safelist.
    Untrusted,
    /// It cannot be as fresh as it asks.
    Fault(Error),
}

impl Refused {
    /// What the client is told: code and message.
    pub(super) fn told(&self) -> (String, &str) {
        let (code, message) = match self {
            Self::Bad(message) | Self::Invalid(message) => ("BAD_REQUEST", message.as_str()),
            Self::NotPersisted => ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"),
            Self::Untrusted => ("DOCUMENT_NOT_TRUSTED", "the document is not on this server's safelist"),
            Self::Fault(error) => (error.code(), error.message()),
        };
        (code.to_ascii_uppercase().replace('-', "_"), message)
    }
}

/// An error in GraphQL's own form.
pub(super) fn told(code: &str, message: &str) -> ServerError {
    let mut error = ServerError::new(message, None);
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code);
    error.extensions = Some(extensions);
    error
}

/// A request that may be executed.
pub(super) struct Prepared {
    query: String,
    operation_name: Option<String>,
    variables: Variables,
    /// Nothing when it cannot be parsed: the execution says so, in the words of the parser.
    document: Option<Arc<Known>>,
    /// Whether it asks what it costs.
    reckons: bool,
    /// How fresh it asks to be in its extensions.
    pub(super) demand: Consistency,
    pub(super) caller: Caller,
}

/// What an execution came to.
pub(super) enum Executed {
    /// The bytes of `data`, without an error.
    Data(Vec<u8>),
    /// An answer, perhaps with errors.
    Read(Answer),
    /// What a mutation answered, with the token of what it wrote last.
    Written(Answer, Option<String>),
}

/// Makes a request ready: its document found and within the limits, reads as fresh as it asks.
pub(super) async fn prepare(served: &Served, caller: Caller, parameters: Parameters) -> Result<Prepared, Refused> {
    let Parameters { query, document_id, operation_name, variables, extensions } = parameters;
    if !matches!(extensions, None | Some(serde_json::Value::Null | serde_json::Value::Object(_))) {
        return Err(Refused::Bad("`extensions` must be a JSON object".into()));
    }
    let caller = keyed(caller, extensions.as_ref()).map_err(|error| Refused::Bad(error.message().to_owned()))?;
    let (demand, caller) = match demanded(served, extensions.as_ref()).await {
        Ok(None) => (Consistency::Bounded, caller),
        Ok(Some(demand)) => (demand, caller.with(demand)),
        Err(error) if error.kind() == Kind::Invalid => return Err(Refused::Bad(error.message().to_owned())),
        Err(error) => return Err(Refused::Fault(error)),
    };
    let named = persisted::Named { query, document_id, extensions: extensions.as_ref() };
    let persisted::Asked { query, keep_as } = match served.persisted.asked(named).await {
        Ok(asked) => asked,
        Err(persisted::Refusal::Bad(why)) => return Err(Refused::Bad(why.into())),
        Err(persisted::Refusal::NotFound) => return Err(Refused::NotPersisted),
        Err(persisted::Refusal::Untrusted) => return Err(Refused::Untrusted),
    };
    let document = match served.documents.get(&query) {
        Ok(document) => {
            if let Some(hash) = keep_as {
                served.persisted.keep(hash, &query).await;
            }
            Some(document)
        }
        Err(Refusal::Unparsed) => None,
        Err(Refusal::Beyond(why)) => return Err(Refused::Bad(why)),
        Err(Refusal::Invalid(why)) => return Err(Refused::Invalid(why)),
    };
    if !served.http.introspection && document.as_ref().is_some_and(|known| known.introspects) {
        return Err(Refused::Bad("this server does not tell its schema; see INTROSPECTION".into()));
    }
    let variables = match variables {
        None | Some(serde_json::Value::Null) => Variables::default(),
        Some(value @ serde_json::Value::Object(_)) => Variables::from_json(value),
        Some(_) => return Err(Refused::Bad("`variables` must be a JSON object".into())),
    };
    let operation_name = operation_name.filter(|name| !name.is_empty());
    if let Some(name) = document.as_ref().and_then(|known| known.operation(operation_name.as_deref())) {
        tally::note(|tally| tally.name(name));
    }
    let reckons = extensions.as_ref().and_then(|e| e.get("cost")) == Some(&serde_json::Value::Bool(true));
    Ok(Prepared { query, reckons, operation_name, variables, document, demand, caller })
}

impl Prepared {
    /// Whether the chosen operation is of that type.
    pub(super) fn is(&self, ty: OperationType) -> bool {
        self.document.as_ref().is_some_and(|known| known.is(ty, self.operation_name.as_deref()))
    }

    /// The request for the executor, with the loaders of `caller`; an error when its variables do not do.
    pub(super) fn request(&self, served: &Served, caller: Caller, room: Arc<Room>) -> Result<Request, ServerError> {
        // Before anything is read.
        let begun = Begun(served.app.feed.changes().now());
        let loaders = Loaders::new(served.app.clone(), caller, room);
        let mut request = Request::new(self.query.as_str()).variables(self.variables.clone()).data(loaders).data(begun);
        if let Some(name) = &self.operation_name {
            request = request.operation_name(name);
        }
        if let Some(known) = &self.document {
            request.set_parsed_query(known.document.clone());
        }
        settle_variables(&mut request)?;
        Ok(request)
    }

    /// Executes a query or a mutation.
    pub(super) async fn execute(&self, served: &Served) -> Executed {
        let most = served.http.response_limit;
        if let Some(plan) = self.document.as_ref().filter(|_| !self.reckons).and_then(|document| document.plan())
            && let Some(data) =
                plan.execute(self.operation_name.as_deref(), &served.app, &self.caller, &self.variables, most).await
        {
            metrics::counter!("overlay_graphql_executions_total", "by" => "plan").increment(1);
            return Executed::Data(data);
        }
        metrics::counter!("overlay_graphql_executions_total", "by" => "general").increment(1);
        let committed = Arc::new(Committed::default());
        let room = Arc::new(Room::new(most));
        let answer = match self.request(served, self.caller.clone(), room.clone()) {
            Ok(request) => served.schema.execute(request.data(committed.clone())).await,
            Err(error) => Answer::from_errors(vec![error]),
        };
        let mut answer = coded(served, answer);
        if let Some(known) = self.document.as_ref().filter(|_| self.reckons)
            && let Some(cost) =
                super::cost::told(&known.document, self.operation_name.as_deref(), &self.variables).await
        {
            answer.extensions.insert("cost".into(), cost);
        }
        if self.is(OperationType::Mutation) {
            return Executed::Written(answer, committed.token());
        }
        // Whatever did fit is not what was asked for.
        if room.is_exceeded() {
            return Executed::Read(too_large(most));
        }
        if let Some(known) = self.document.as_ref().filter(|_| answer.is_ok()) {
            known.prove();
        }
        Executed::Read(answer)
    }
}

/// What the library says of a document that is too large, which tells nothing of the schema.
const LIMITS: [&str; 2] = ["Query is too complex.", "Query is nested too deep."];

/// An answer of the library's, each error with a code: what it finds wrong by itself is wrong with the request. Where the
/// schema is not told, neither is what about it a document gets wrong.
pub(super) fn coded(served: &Served, mut answer: Answer) -> Answer {
    let is_of_schema = |error: &ServerError| error.extensions.is_none() && !LIMITS.contains(&error.message.as_str());
    if !served.http.introspection && is_refusal(&answer) && answer.errors.iter().any(is_of_schema) {
        let message = "the document, or its variables, do not fit the schema";
        return Answer::from_errors(vec![told("BAD_REQUEST", message)]);
    }
    for error in &mut answer.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", "BAD_REQUEST");
        }
        if let Some(Value::String(code)) = extensions.get("code") {
            metrics::counter!("overlay_graphql_errors_total", "code" => code.clone()).increment(1);
        }
    }
    answer
}

/// Whether something in the answer could not be had just now.
pub(super) fn is_unavailable(answer: &Answer) -> bool {
    let code = |error: &ServerError| error.extensions.as_ref()?.get("code").cloned();
    answer.errors.iter().any(|error| code(error) == Some(Value::from("UNAVAILABLE")))
}

/// The answer that does not fit into `most` bytes.
fn too_large(most: usize) -> Answer {
    let error = Room::new(most).too_large();
    Answer::from_errors(vec![told("RESPONSE_TOO_LARGE", error.message())])
}

/// An answer as JSON, and whether it tells only why there is none: nothing was executed, or it is larger than `most` bytes. Then
/// it has no `data`, not even null.
pub(super) fn json(answer: &Answer, most: usize) -> (Vec<u8>, bool) {
    #[derive(serde::Serialize)]
    struct Refusal<'a> {
        errors: &'a [ServerError],
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        extensions: &'a BTreeMap<String, Value>,
    }
    let refusal = |answer: &Answer| {
        let refusal = Refusal { errors: &answer.errors, extensions: &answer.extensions };
        (serde_json::to_vec(&refusal).expect("errors are JSON"), true)
    };
    if is_refusal(answer) {
        return refusal(answer);
    }
    let mut out = Writer::new(most);
    match serde_json::to_writer(&mut out, answer) {
        Ok(()) => (out.bytes, false),
        Err(_) => refusal(&too_large(most)),
    }
}

/// Whether nothing was executed: an error with a path arose in execution, one without before it.
pub(super) fn is_refusal(answer: &Answer) -> bool {
    answer.is_err() && answer.data == Value::Null && answer.errors.iter().all(|error| error.path.is_empty())
}

/// A mutation's answer with the token of what it wrote.
pub(super) fn with_token(mut answer: Answer, token: Option<String>) -> Answer {
    if let Some(token) = token {
        answer.extensions.insert("consistency".into(), Value::String(token));
    }
    answer
}

/// The caller with what `extensions.idempotencyKey` calls what it wants made: over a WebSocket there are no headers.
fn keyed(caller: Caller, extensions: Option<&serde_json::Value>) -> crate::error::Result<Caller> {
    let Some(key) = extensions.and_then(|e| e.get("idempotencyKey")) else { return Ok(caller) };
    caller.keyed(key.as_str().unwrap_or_default())
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
pub(super) fn settle_variables(request: &mut Request) -> Result<(), ServerError> {
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
