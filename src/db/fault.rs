//! What goes wrong on the way to PostgreSQL.

use std::sync::Arc;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlxError};

use crate::error::Error;

/// Whether the connection ended under a statement, or was found ended: Io, or classes 57P0 (terminated) and 08.
pub(super) fn is_lost(cause: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = cause else {
        return false;
    };
    match cause.as_ref() {
        SqlxError::Io(_) | SqlxError::Protocol(_) | SqlxError::WorkerCrashed => true,
        SqlxError::Database(e) => e.code().is_some_and(|c| c.starts_with("57P0") || c.starts_with("08")),
        _ => false,
    }
}

pub(super) fn sqlx_error(cause: SqlxError) -> DbErr {
    match cause {
        SqlxError::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        SqlxError::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        cause => DbErr::Exec(RuntimeErr::SqlxError(Arc::new(cause))),
    }
}

/// Why the pool has no connection to give. Who ends one in the midst of its beginning, or says what PostgreSQL does not, stands where
/// PostgreSQL should: a balancer that has no server, say.
pub(super) fn acquire_error(cause: SqlxError) -> DbErr {
    match cause {
        SqlxError::Protocol(_) | SqlxError::Tls(_) => DbErr::Conn(RuntimeErr::SqlxError(Arc::new(cause))),
        cause => sqlx_error(cause),
    }
}

/// What the causes that an operator can mend say of themselves, and how.
const MENDED: [(&str, &str); 6] = [
    ("unsupported startup parameter", Error::SHARED_OUT),
    ("server does not support TLS", "PostgreSQL does not encrypt, and sslmode asks for it: set `ssl = on` there"),
    (
        "UnknownIssuer",
        "PostgreSQL's certificate is signed by no authority that is known here: name the authority's file in PG_TLS_CA",
    ),
    (
        "not valid for name",
        "PostgreSQL's certificate is for another name than the URL has: use a name that is in the certificate",
    ),
    (
        "valid client certificate",
        "PostgreSQL wants to see a certificate of ours: name it in PG_TLS_CERT and its key in PG_TLS_KEY",
    ),
    (
        "invalid peer certificate",
        "PostgreSQL's certificate does not prove who it is: is its authority's file in PG_TLS_CA, and is it in time?",
    ),
];

/// Why there is no connection, with what to do about it where that is known.
pub(super) fn explained(cause: DbErr) -> Error {
    let told = cause.to_string();
    match MENDED.iter().find(|(sign, _)| told.contains(sign)) {
        Some((_, message)) => Error::unavailable(*message).because(cause),
        None => cause.into(),
    }
}
