//! The engines of the service: always a sandbox, with a client of its own for each tenant. Runs nothing.

use marmot::HttpClient;
use marmot::script::{ScriptEngine, ScriptEngineBuilder};
use marmot::stripe;
use marmot::worker::Engines;

use super::super::permissions::Grants;
use super::config::File;

/// The engines of all tenants. One is made to see that the settings are valid.
pub(super) fn engines(file: &File) -> Result<Engines, String> {
    let variable = std::sync::Arc::new(file.variable()?);
    let (grants, tenants) = (file.grants.clone(), file.tenants.clone());
    let modules = file.common.modules.clone();
    let make = move |tenant: &str| -> Result<ScriptEngine, String> {
        let grants: &Grants = tenants.get(tenant).unwrap_or(&grants);
        let client = HttpClient::builder().build().map_err(|error| error.chain())?;
        let variable = variable.clone();
        let mut builder: ScriptEngineBuilder = ScriptEngine::builder().client(client).sandbox(grants.sandbox(true));
        builder = grants.secrets(builder, &**variable)?;
        let base = variable("STRIPE_API_BASE").filter(|base| !base.is_empty());
        builder = builder.variables(move |name| variable(name));
        if let Some(folder) = &modules {
            builder = builder.modules(folder);
        }
        let mut engine = builder.build().map_err(|error| error.chain())?;
        let payments = base.into_iter().fold(stripe::Config::new(), stripe::Config::base_url);
        stripe::register(&mut engine, payments).map_err(|error| format!("STRIPE_API_BASE: {error}"))?;
        Ok(engine)
    };
    for tenant in std::iter::once("").chain(file.tenants.keys().map(String::as_str)) {
        make(tenant).map_err(|error| if tenant.is_empty() { error } else { format!("tenants.{tenant}: {error}") })?;
    }
    Ok(Engines::new(make))
}
