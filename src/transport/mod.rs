//! What clients speak. Two transports over the same rooms and flows; neither holds logic, and neither knows the other.

pub mod answer;
mod asked;
mod audit;
pub mod caller;
mod door;
pub mod drain;
mod explain;
pub mod front;
pub mod graphql;
mod handed;
pub mod http;
pub mod listener;
mod opened;
mod origin;
pub mod pages;
pub mod popular;
mod rest;
mod surrogate;
mod unverified;
mod wire;
