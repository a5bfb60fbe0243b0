//! What an operator may put between a server and its stores, or do to them, and what still holds then.

mod cluster;
mod pgbouncer;
mod pool;
mod tls;
