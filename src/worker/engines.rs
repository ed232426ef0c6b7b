//! An engine for each tenant, so that no two of them share a connection, a cookie or a secret. Runs nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::script::ScriptEngine;

/// The most engines that are kept; the one that was used longest ago makes room.
const KEPT: usize = 256;

type Make = dyn Fn(&str) -> Result<ScriptEngine, String> + Send + Sync;

/// Makes the engines of tenants, and keeps them.
pub struct Engines {
    make: Box<Make>,
    kept: Mutex<HashMap<String, (Arc<ScriptEngine>, Instant)>>,
}

impl Engines {
    /// `make` gets the name of the tenant. Each engine should have a client of its own.
    pub fn new(make: impl Fn(&str) -> Result<ScriptEngine, String> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), kept: Mutex::default() }
    }

    /// The engine of a tenant.
    ///
    /// # Errors
    ///
    /// Why it cannot be made.
    pub fn of(&self, tenant: &str) -> Result<Arc<ScriptEngine>, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((engine, used)) = kept.get_mut(tenant) {
            *used = Instant::now();
            return Ok(engine.clone());
        }
        let engine = Arc::new((self.make)(tenant)?);
        if kept.len() >= KEPT
            && let Some(oldest) = kept.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(tenant.to_owned(), (engine.clone(), Instant::now()));
        Ok(engine)
    }
}

impl fmt::Debug for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engines").finish_non_exhaustive()
    }
}
