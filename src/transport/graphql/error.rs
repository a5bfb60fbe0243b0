//! From an error's kind to a GraphQL error: the message for people, `extensions.code` for programs.

use async_graphql::ErrorExtensions;

use crate::error::{Error, Kind};

/// A nullable field that can fail: its error nulls the field, not the parent.
pub(super) type Nullable<T> = Option<async_graphql::Result<T>>;

/// The GraphQL form of an error. `extensions.code` is the error's code in upper case with underscores.
pub(super) fn graphql(error: &Error) -> async_graphql::Error {
    if error.kind() == Kind::Internal {
        tracing::error!(?error, "a fault of ours");
    }
    let code = error.code().to_ascii_uppercase().replace('-', "_");
    async_graphql::Error::new(error.message()).extend_with(|_, extensions| {
        extensions.set("code", code);
        if let Some(hint) = error.hint_text() {
            extensions.set("hint", hint);
        }
        for (name, value) in error.details() {
            extensions.set(*name, value.as_str());
        }
    })
}

/// What a mutation answers: null when it is refused, so that what others in its document have made is told.
pub(super) async fn made<T>(work: impl Future<Output = async_graphql::Result<T>>) -> Nullable<T> {
    Some(work.await)
}

/// What a nullable field answers.
pub(super) fn nullable<T>(outcome: crate::error::Result<Option<T>>) -> Nullable<T> {
    outcome.map_err(|error| graphql(&error)).transpose()
}
