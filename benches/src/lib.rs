//! What the programs of this package share. Measures nothing by itself.
//!
//! ```text
//! scenarios ──► load ──► (a client, the server) ──► record ──► results/SCENARIO.json ──► report, goals ─┐
//! another program ──► results::Part ──► results/NAME.json ──────────────────────────────────────────────┴► page, draw
//! ```

pub mod cores;
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
