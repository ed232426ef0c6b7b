//! What the programs of this package share. Measures nothing by itself.
//!
//! A program that measures something else than the scenarios makes a [`results::Part`] and saves it.

pub mod epoll;
pub mod results;
pub mod server;
