//! Who may do what: signed requests, sessions, and what each of them opens.

mod matrix;
mod producers;
pub(crate) mod sessions;
mod signed;
