//! GraphQL keeps its promises: what a query costs, how pages follow each other, and what is said on the wire.

mod clients;
mod corpus;
mod filters;
mod hostile;
mod lookups;
mod nested;
mod paging;
mod persisted;
mod plans;
mod wire;
