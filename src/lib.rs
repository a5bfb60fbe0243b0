#![doc = include_str!("README.md")]

pub mod app;
pub mod boot;
pub mod cache;
pub mod coherence;
pub mod config;
pub mod db;
pub mod devstack;
pub mod domain;
pub mod error;
pub mod flows;
pub mod https;
pub mod telemetry;
pub mod transport;
