//! Lineage: what OpenLineage events say of jobs, their runs, and the datasets that they read and write.
//!
//! Events come in any order, again and again, from many clients at once, and the graph is the same however they came:
//! whatever is kept of them is a union, a least or greatest, or the greater of two versions ([`batch`]).
//!
//! - [`event`] reads one
//! - [`batch`] gathers what several say of the same things
//! - [`intake`] is where they wait to be kept
//! - [`catalogue`] is what is known of each, by name and in pages
//! - [`columns`] is which columns were made of which
//! - [`events`] is what came, event by event, and what could not be read
//! - [`node`] is what names a job or a dataset, [`walk`] goes from one to the next, [`graph`] is what is found,
//!   [`neighbourhood`] what Marquez would find

pub mod batch;
pub mod catalogue;
pub mod columns;
pub mod event;
pub mod events;
pub mod graph;
pub mod intake;
pub mod neighbourhood;
pub mod node;
mod store;
pub mod walk;
