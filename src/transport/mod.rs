//! What clients speak. Two transports over the same rooms and flows; neither holds logic, and neither knows the other.

pub mod answer;
mod audit;
pub mod caller;
pub mod front;
pub mod graphiql;
pub mod graphql;
pub mod http;
mod rest;
