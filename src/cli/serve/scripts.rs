//! The engines of the service: always a sandbox, with a client of its own for each tenant. Runs nothing.

use marmot::HttpClient;
use marmot::script::ScriptEngine;
use marmot::worker::Engines;

use super::super::host;
use super::super::permissions::Grants;
use super::config::File;

/// The engines of all tenants. One is made to see that the settings are valid.
pub(super) fn engines(file: &File) -> Result<Engines, String> {
    let variable = host::variables(file.common.env_file.as_deref())?;
    let (grants, tenants) = (file.grants.clone(), file.tenants.clone());
    let modules = file.common.modules.clone();
    let make = move |tenant: &str| -> Result<ScriptEngine, String> {
        let grants: &Grants = tenants.get(tenant).unwrap_or(&grants);
        let client = HttpClient::builder().build().map_err(|error| error.chain())?;
        let mut builder = ScriptEngine::builder().client(client).sandbox(grants.sandbox(true));
        builder = grants.secrets(builder, &variable)?.variables(variable.clone());
        if let Some(folder) = &modules {
            builder = builder.modules(folder);
        }
        host::engine(builder, host::payments(&variable))
    };
    for tenant in std::iter::once("").chain(file.tenants.keys().map(String::as_str)) {
        make(tenant).map_err(|error| if tenant.is_empty() { error } else { format!("tenants.{tenant}: {error}") })?;
    }
    Ok(Engines::new(make))
}
