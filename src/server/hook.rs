//! Webhooks that come in: their signatures, and the jobs that they become. Runs nothing.

use std::sync::Arc;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::code;
use super::methods::Service;
use crate::hex;
use crate::queue::Origin;
use crate::stripe::webhook;

/// How those who send webhooks sign them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// As Stripe does it: the header `Stripe-Signature` with a time and HMAC-SHA256 over both.
    Stripe,
    /// HMAC-SHA256 over the body, in hexadecimal digits, in this header, behind this prefix: `X-Hub-Signature-256` and
    /// `sha256=` for those of GitHub.
    Hmac {
        /// The name of the header.
        header: String,
        /// What stands before the digits.
        prefix: String,
        /// The header that names the event, by which one that comes twice is known. Default: the body tells.
        id_header: Option<String>,
    },
}

/// A webhook: who may send it, and what it runs.
#[derive(Clone)]
pub struct Hook {
    /// Whose it is.
    pub tenant: String,
    /// The name of the script in the library. It finds the event in `ARGS.event`, and headers in `ARGS.headers`.
    pub script: String,
    /// How it is signed.
    pub scheme: Scheme,
    /// What it is signed with; more than one while it changes.
    pub secrets: Vec<Zeroizing<String>>,
    /// The most milliseconds that the script may run. Default: that of the server.
    pub timeout_ms: Option<u64>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("tenant", &self.tenant)
            .field("script", &self.script)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// What the sender is answered.
pub(super) type Answer = (StatusCode, Value);

fn refused(status: StatusCode, message: impl Into<String>) -> Answer {
    (status, json!({ "error": message.into() }))
}

impl Hook {
    /// Whether the body was signed by somebody who knows the secret. Why not, otherwise.
    fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<(), String> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match &self.scheme {
            Scheme::Stripe => {
                let signature = header("stripe-signature").ok_or("the header `Stripe-Signature` is missing")?;
                let secrets: Vec<&str> = self.secrets.iter().map(|secret| secret.as_str()).collect();
                webhook::verify(body, signature, &secrets, webhook::TOLERANCE, now).map_err(|error| error.to_string())
            }
            Scheme::Hmac { header: name, prefix, .. } => {
                let signature = header(name).ok_or_else(|| format!("the header `{name}` is missing"))?;
                let digits = signature.strip_prefix(prefix.as_str()).ok_or("the signature has another prefix")?;
                let given = hex::decode::<32>(digits).ok_or("the signature is not 64 hexadecimal digits")?;
                let right = |secret: &Zeroizing<String>| {
                    // An HMAC takes a key of any length; it is compared in constant time.
                    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
                        .is_ok_and(|mac| mac.chain_update(body).verify_slice(&given).is_ok())
                };
                let known = self.secrets.iter().filter(|secret| !secret.is_empty()).any(right);
                if known { Ok(()) } else { Err("the signature is not right for the body".into()) }
            }
        }
    }

    /// What tells this event from others.
    fn event_id(&self, headers: &HeaderMap, body: &[u8], event: &Value) -> String {
        let named = match &self.scheme {
            Scheme::Stripe => event["id"].as_str(),
            Scheme::Hmac { id_header, .. } => id_header.as_ref().and_then(|name| headers.get(name)?.to_str().ok()),
        };
        match named {
            Some(id) if !id.is_empty() && id.len() <= 128 => id.to_owned(),
            _ => hex::encode(&Sha256::digest(body)),
        }
    }
}

/// Takes an event: verifies it, and submits its script, once for each event.
pub(super) async fn take(service: &Arc<Service>, name: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let Some(hook) = service.options.hooks.get(name) else {
        return refused(StatusCode::NOT_FOUND, "there is no such webhook");
    };
    if let Err(why) = hook.verify(headers, body, SystemTime::now()) {
        tracing::warn!(hook = name, why, "an event was refused");
        return refused(StatusCode::UNAUTHORIZED, why);
    }
    let event =
        serde_json::from_slice(body).or_else(|_| std::str::from_utf8(body).map(|text| Value::String(text.to_owned())));
    let Ok(event) = event else {
        return refused(StatusCode::BAD_REQUEST, "the body is no text");
    };
    let key = format!("hook:{name}:{}", hook.event_id(headers, body, &event));
    let shown: Map<String, Value> = headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "authorization" | "cookie" | "proxy-authorization"))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.into())))
        .collect();
    let args = json!({ "hook": name, "event": event, "headers": shown });
    let origin = Origin::Hook(name.to_owned());
    let job = service.own_job(&hook.tenant, (None, Some(&hook.script)), args, hook.timeout_ms, origin, key).await;
    let submitted = match job {
        Ok(mut job) => {
            // The same event is the same job, though its headers tell another time.
            job.same_by_key = true;
            service.queue.submit(job).await.map_err(|error| code::of_queue(&error))
        }
        Err(error) => Err(error),
    };
    match submitted {
        Ok(submitted) => {
            tracing::info!(hook = name, job_id = %submitted.id, existed = submitted.existed, "an event was taken");
            let status = if submitted.existed { StatusCode::OK } else { StatusCode::ACCEPTED };
            (status, json!({ "job_id": submitted.id, "existed": submitted.existed }))
        }
        Err(error) => {
            tracing::error!(hook = name, error = error.message(), "an event was not taken; its sender is to try again");
            // Anything but success makes the sender try again.
            refused(StatusCode::SERVICE_UNAVAILABLE, error.message())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(prefix: &str) -> Hook {
        Hook {
            tenant: "alice".into(),
            script: "on_push".into(),
            scheme: Scheme::Hmac {
                header: "X-Hub-Signature-256".into(),
                prefix: prefix.into(),
                id_header: Some("X-GitHub-Delivery".into()),
            },
            secrets: vec![String::new().into(), String::from("It's a Secret to Everybody").into()],
            timeout_ms: None,
        }
    }

    /// The example of GitHub's documentation of its webhooks.
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn verify(hook: &Hook, value: &str, body: &[u8]) -> Result<(), String> {
        let headers = HeaderMap::from_iter([("x-hub-signature-256".parse().unwrap(), value.parse().unwrap())]);
        hook.verify(&headers, body, SystemTime::now())
    }

    #[test]
    fn a_signature_is_right_for_its_body_and_secret_only() {
        let (hook, body) = (hook("sha256="), b"Hello, World!");
        verify(&hook, &format!("sha256={SIGNATURE}"), body).unwrap();
        for (value, body) in [
            (format!("sha256={SIGNATURE}"), &b"Hello, World?"[..]),
            (SIGNATURE.to_owned(), body),
            (format!("sha256={}", &SIGNATURE[2..]), body),
            (format!("sha256=00{}", &SIGNATURE[2..]), body),
            ("sha256=".into(), body),
            ("sha256=\u{e4}".into(), body),
        ] {
            assert!(verify(&hook, &value, body).is_err(), "{value}");
        }
        let empty = Hook { secrets: vec![String::new().into()], ..hook };
        let signed = Hmac::<Sha256>::new_from_slice(b"").unwrap().chain_update(body).finalize().into_bytes();
        let signed = hex::encode(&signed);
        assert!(verify(&empty, &format!("sha256={signed}"), body).is_err(), "no secret, no signature");
    }

    #[test]
    fn an_event_is_known_by_its_name_or_its_body() {
        let hook = hook("");
        let named = HeaderMap::from_iter([("x-github-delivery".parse().unwrap(), "42".parse().unwrap())]);
        assert_eq!(hook.event_id(&named, b"x", &Value::Null), "42");
        let by_body = hook.event_id(&HeaderMap::new(), b"x", &Value::Null);
        assert_eq!(by_body.len(), 64);
        assert_ne!(by_body, hook.event_id(&HeaderMap::new(), b"y", &Value::Null));
    }
}
