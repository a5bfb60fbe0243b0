//! One error type for the whole house.
//!
//! An [`Error`] is made for its caller: [`Kind`] says what the caller can do about it, `code` is a stable
//! kebab-case name that clients may match on, and the outside message is all they are shown. What happened
//! inside goes to the log only. This module knows no transport; `transport/` maps kinds to its own statuses.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong; sending it again will not help.
    Invalid,
    /// The request does not say who asks, and must.
    Unauthenticated,
    /// Who asks is known, and may not.
    Forbidden,
    /// The thing asked for does not exist.
    NotFound,
    /// The request is right, but what is stored does not allow it now.
    Conflict,
    /// What is asked for was there, and its time is over.
    Gone,
    /// The body is larger than is read.
    PayloadTooLarge,
    /// The body is of a type that is not read.
    UnsupportedMediaType,
    /// The request can be read, but what it holds breaks a rule.
    Unprocessable,
    /// A dependency is unreachable or overloaded; try again later.
    Unavailable,
    /// Who asks has asked too often; seconds to wait.
    TooOften(u64),
    /// The request took too long.
    Timeout,
    /// A fault of ours.
    Internal,
}

/// An error with a stable code, an outside message, and an inside cause that is only logged.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    code: &'static str,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    details: Vec<(&'static str, String)>,
    inside: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Code of an error by which PostgreSQL refused data.
    pub const REFUSED: &str = "refused-by-database";

    /// What is wrong where a pooler is taken for PostgreSQL itself.
    pub const SHARED_OUT: &str = "a pooler answers in the place of PostgreSQL: name the pooler in PG_POOLER_URL, and PostgreSQL itself in PG_URL";

    /// An error of `kind` with a stable kebab-case `code` and a message for the caller.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, code, message: message.into(), hint: None, details: Vec::new(), inside: None }
    }

    /// The caller sent something wrong: the message names what, and the accepted form.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, "bad-request", message)
    }

    /// The named thing does not exist.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, "not-found", message)
    }

    /// A dependency cannot answer now.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, "unavailable", message)
    }

    /// Whether the same may succeed later: a dependency is away, or took too long.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Timeout)
    }

    /// A fault of ours; `inside` is logged, never shown.
    pub fn internal(inside: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            inside: Some(Arc::from(inside.into())),
            ..Self::new(Kind::Internal, "internal", "the server failed; the request id finds the cause in its log")
        }
    }

    /// Adds a short machine-readable hint, e.g. the parameter's name.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a fact of the error's own: a member of the body, e.g. `versionId`.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inside = Some(Arc::from(cause.into()));
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Stable kebab-case name.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The short hint, when there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The error's own facts, by name.
    pub fn details(&self) -> &[(&'static str, String)] {
        &self.details
    }

    /// The cause, for the log only.
    pub fn inside(&self) -> Option<&(dyn std::error::Error + Send + Sync)> {
        self.inside.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match &self.inside {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<sea_orm::DbErr> for Error {
    /// A lost connection, an exhausted pool and a cancelled statement are the server's state, not its fault:
    /// the caller may try again. Anything else from PostgreSQL is ours.
    fn from(cause: sea_orm::DbErr) -> Self {
        use sea_orm::{DbErr, RuntimeErr, SqlxError};
        let lost = match &cause {
            DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout) => {
                let message = "no database connection came in time: PostgreSQL is away, or too busy";
                return Self::unavailable(message).because(cause);
            }
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
            DbErr::Exec(RuntimeErr::SqlxError(e)) | DbErr::Query(RuntimeErr::SqlxError(e)) => match e.as_ref() {
                SqlxError::Io(_) | SqlxError::PoolTimedOut | SqlxError::PoolClosed | SqlxError::WorkerCrashed => true,
                SqlxError::Database(e) => match e.code().as_deref() {
                    // query_canceled is what statement_timeout raises.
                    Some("57014") => {
                        return Self::new(Kind::Timeout, "timeout", "the query took too long").because(cause);
                    }
                    // Classes 22 and 23: a value or a row the schema does not allow; 54: beyond a limit; P0001: a trigger
                    // said no. The data is at fault, not the statement.
                    Some(code) if ["22", "23", "54", "P0001"].iter().any(|class| code.starts_with(class)) => {
                        return Self::new(Kind::Invalid, Self::REFUSED, "the database refuses the data").because(cause);
                    }
                    // A statement's name is taken, or unknown, on a connection that somebody else had in between.
                    Some("42P05" | "26000") => return Self::unavailable(Self::SHARED_OUT).because(cause),
                    // Class 57P: shutting down, starting up. Class 53: out of resources. Class 08: connection.
                    Some(code) => code.starts_with("57P") || code.starts_with("53") || code.starts_with("08"),
                    None => false,
                },
                _ => false,
            },
            _ => false,
        };
        if lost { Self::unavailable("the database cannot be reached").because(cause) } else { Self::internal(cause) }
    }
}
