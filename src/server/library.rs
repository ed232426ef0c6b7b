//! Named scripts with versions, and the schemas of their arguments. Runs none.

use jsonrpsee_types::ErrorObjectOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::code;
use crate::queue::{Queue, QueueError, Record, RecordKind, check_name};

/// The most versions of a script; the oldest make room.
const VERSIONS: usize = 50;

/// A script in one version.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    script: String,
    /// What its arguments have to be, as JSON Schema has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Put {
    name: String,
    script: String,
    schema: Option<Value>,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
    version: Option<u64>,
}

/// A script that is to be run.
pub(super) struct Found {
    pub(super) script: String,
    /// With its version.
    pub(super) full_name: String,
}

type Answer = Result<Value, ErrorObjectOwned>;

fn failed(error: QueueError) -> ErrorObjectOwned {
    code::of_queue(&error)
}

/// The versions of a script, the oldest first.
async fn versions(queue: &dyn Queue, tenant: &str, name: &str) -> Result<Vec<u64>, ErrorObjectOwned> {
    let names = queue.record_names(RecordKind::Script, tenant).await.map_err(failed)?;
    let version = |full: &String| full.strip_prefix(name)?.strip_prefix('@')?.parse().ok();
    let mut versions: Vec<u64> = names.iter().filter_map(version).collect();
    versions.sort_unstable();
    Ok(versions)
}

pub(super) async fn put(queue: &dyn Queue, tenant: &str, put: Put) -> Answer {
    let Put { name, script, schema, description } = put;
    check_name("a script", &name).map_err(failed)?;
    if let Some(schema) = &schema {
        jsonschema::validator_for(schema)
            .map_err(|error| code::params(format!("`schema` is no JSON Schema: {error}")))?;
    }
    let size = queue.settings().job_size;
    if script.len() > size {
        return Err(code::params(format!("the script has {} bytes, and {size} are allowed", script.len())));
    }
    let kept = Kept { script, schema, description };
    let body = serde_json::to_string(&kept).map_err(|error| code::params(error.to_string()))?;
    loop {
        let versions = versions(queue, tenant, &name).await?;
        let version = versions.last().map_or(0, |version| *version) + 1;
        let record = Record {
            kind: RecordKind::Script,
            tenant: tenant.to_owned(),
            name: format!("{name}@{version}"),
            body: body.clone(),
        };
        // Somebody else may have put this version meanwhile.
        if queue.add(record).await.map_err(failed)? {
            let many = (versions.len() + 1).saturating_sub(VERSIONS);
            for old in versions.iter().take(many) {
                queue.remove(RecordKind::Script, tenant, &format!("{name}@{old}")).await.map_err(failed)?;
            }
            return Ok(json!({ "name": name, "version": version }));
        }
    }
}

/// A script by its name, in its newest version or that of `name@version`.
async fn find(
    queue: &dyn Queue,
    tenant: &str,
    name: &str,
    version: Option<u64>,
) -> Result<(u64, Kept), ErrorObjectOwned> {
    let nothing = || {
        let message = format!("there is no script `{}` in the library", name.chars().take(120).collect::<String>());
        code::error(code::NOT_FOUND, message, Some(json!({ "what": "script" })))
    };
    let version = match version {
        Some(version) => version,
        None => versions(queue, tenant, name).await?.pop().ok_or_else(nothing)?,
    };
    let record = match queue.record(RecordKind::Script, tenant, &format!("{name}@{version}")).await {
        Err(QueueError::NotFound(_)) => return Err(nothing()),
        other => other.map_err(failed)?,
    };
    let kept = serde_json::from_str(&record.body);
    Ok((version, kept.map_err(|error| code::error(code::BACKEND, error.to_string(), None))?))
}

/// The script that a job names, for these arguments.
pub(super) async fn resolve(
    queue: &dyn Queue,
    tenant: &str,
    name: &str,
    args: &Value,
) -> Result<Found, ErrorObjectOwned> {
    let (base, version) = match name.rsplit_once('@') {
        Some((base, version)) => {
            let version = version.parse().map_err(|_| code::params(format!("`{name}`: a version is a number")))?;
            (base, Some(version))
        }
        None => (name, None),
    };
    let (version, kept) = find(queue, tenant, base, version).await?;
    if let Some(schema) = &kept.schema {
        let validator = jsonschema::validator_for(schema).map_err(|error| code::params(error.to_string()))?;
        // A script without arguments has none, not null.
        let none = json!({});
        let args = if args.is_null() { &none } else { args };
        let wrong: Vec<String> = validator
            .iter_errors(args)
            .take(5)
            .map(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                path => format!("{path}: {error}"),
            })
            .collect();
        if !wrong.is_empty() {
            return Err(code::error(
                code::PARAMS,
                format!("the arguments are not those of `{base}@{version}`: {}", wrong.join("; ")),
                Some(json!({ "wrong": wrong })),
            ));
        }
    }
    Ok(Found { script: kept.script, full_name: format!("{base}@{version}") })
}

pub(super) async fn get(queue: &dyn Queue, tenant: &str, named: Named) -> Answer {
    let (version, kept) = find(queue, tenant, &named.name, named.version).await?;
    let versions = versions(queue, tenant, &named.name).await?;
    let mut answer = json!(kept);
    answer["name"] = named.name.into();
    answer["version"] = version.into();
    answer["versions"] = versions.into();
    Ok(answer)
}

pub(super) async fn list(queue: &dyn Queue, tenant: &str) -> Answer {
    let all = queue.records(RecordKind::Script, Some(tenant)).await.map_err(failed)?;
    let mut newest = std::collections::BTreeMap::<String, (u64, Option<String>)>::new();
    for record in all {
        let Some((name, version)) = record.name.rsplit_once('@') else { continue };
        let Ok(version) = version.parse::<u64>() else { continue };
        let entry = newest.entry(name.to_owned()).or_default();
        if version >= entry.0 {
            let description = serde_json::from_str::<Kept>(&record.body).ok().and_then(|kept| kept.description);
            *entry = (version, description);
        }
    }
    let list: Vec<Value> = newest
        .into_iter()
        .map(|(name, (version, description))| json!({ "name": name, "version": version, "description": description }))
        .collect();
    Ok(list.into())
}

pub(super) async fn remove(queue: &dyn Queue, tenant: &str, named: Named) -> Answer {
    let mut removed = 0;
    for version in versions(queue, tenant, &named.name).await? {
        if named.version.is_none_or(|wanted| wanted == version) {
            let full = format!("{}@{version}", named.name);
            removed += u64::from(queue.remove(RecordKind::Script, tenant, &full).await.map_err(failed)?);
        }
    }
    Ok(json!({ "removed": removed }))
}
