//! A Redis of the bench's own, where the program is installed. Measures nothing.

use std::sync::Arc;

use marmot::queue::{Queue, Settings};

use crate::Outcome;

pub struct Redis;

impl Redis {
    pub async fn start() -> Outcome<Option<Self>> {
        Ok(None)
    }

    pub async fn queue(&self, _settings: Settings) -> Outcome<Arc<dyn Queue>> {
        Err("none".into())
    }
}
