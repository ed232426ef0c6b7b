//! What the programs of this package share. Measures nothing by itself.
//!
//! A program that measures something else than the scenarios makes a [`results::Part`] and saves it.

mod draw;
pub mod epoll;
pub mod goals;
pub mod load;
pub mod page;
pub mod project;
pub mod record;
pub mod report;
pub mod results;
pub mod scenarios;
pub mod server;
