//! Values that a script can send to the hosts that they are bound to, and do nothing else with. Sends nothing itself.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use rhai::{Module, NativeCallContext};
use zeroize::Zeroizing;

use super::sandbox::over_tls;
use super::{Space, Thrown, failure};
use crate::config::{Egress, EgressPolicy};
use crate::secret::{Concealed, user_and_host};

/// A secret as the host program gave it.
pub(super) struct Kept {
    name: String,
    text: Zeroizing<String>,
    /// As they were given.
    hosts: Vec<String>,
    egress: Egress,
}

impl Kept {
    /// # Errors
    ///
    /// What is wrong with the text or a host.
    pub(super) fn new(name: &str, text: String, hosts: Vec<String>) -> Result<Arc<Self>, String> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(format!("the secret `{name}` is empty"));
        }
        if hosts.is_empty() {
            return Err(format!("the secret `{name}` is bound to no host, so it could not be used"));
        }
        let policy = EgressPolicy::new().allow_hosts(hosts.iter().map(over_tls));
        let mut egress = Egress::default();
        egress.add(policy.allow_proxies(true).allow_unix_sockets(true));
        if let Some(bad) = egress.invalid() {
            return Err(format!("the secret `{name}`: {bad}"));
        }
        Ok(Arc::new(Self { name: name.to_owned(), text, hosts, egress }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may be sent there.
    ///
    /// # Errors
    ///
    /// A message that names the hosts that it may be sent to.
    pub(super) fn check(&self, url: &Uri) -> Result<(), String> {
        self.egress.check_url(url).map_err(|_| {
            let (_, there) = user_and_host(url);
            let scheme = url.scheme_str().unwrap_or_default();
            format!("the secret `{}` is bound to {}, not to {scheme}://{there}", self.name, self.hosts.join(", "))
        })
    }

    /// What a request that carries it in its body may not be led away from.
    pub(super) fn egress(&self) -> &Egress {
        &self.egress
    }

    /// The text and its usual forms, to be taken out of what comes back and what is recorded.
    pub(super) fn conceal(&self, concealed: &mut Concealed) {
        concealed.add(&self.text, &format!("[secret {}]", self.name));
    }
}

/// A secret in a script.
#[derive(Clone)]
pub(crate) struct Secret {
    kept: Arc<Kept>,
    /// What stands before it where it is sent.
    prefix: Arc<str>,
}

impl Secret {
    pub(super) fn new(kept: Arc<Kept>) -> Self {
        Self { kept, prefix: "".into() }
    }

    pub(super) fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// The text, for what is about to be sent to a host that it is bound to, or what stays inside.
    pub(crate) fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", self.prefix, *self.kept.text))
    }

    /// The text, for what goes to this URL only.
    ///
    /// # Errors
    ///
    /// A message if the secret is not bound to that host.
    #[cfg(feature = "stripe")]
    pub(crate) fn reveal_for(&self, url: &Uri) -> Result<Zeroizing<String>, String> {
        self.kept.check(url).map(|()| self.reveal())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[secret {}]", self.kept.name)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `secret(name)`, and what can be done with what it gives.
pub(super) fn register(module: &mut Module, secrets: &[Arc<Kept>]) {
    let secrets = secrets.to_vec();
    Space::Plain.function("secret").set_into_module(module, move |ctx: NativeCallContext, name: &str| {
        let kept = secrets.iter().find(|kept| kept.name() == name);
        let detail = || format!("there is no secret `{name}` for this script");
        kept.map(|kept| Secret::new(kept.clone()))
            .ok_or_else(|| failure::denied("secret", &detail(), Some(name), ctx.call_position()))
    });
    module.set_custom_type::<Secret>("Secret");
    let prefixed = |secret: &mut Secret, prefix: &str| {
        Ok::<_, Thrown>(Secret { kept: secret.kept.clone(), prefix: format!("{prefix}{}", secret.prefix).into() })
    };
    Space::Plain.function("after").set_into_module(module, prefixed);
    for name in ["to_string", "to_debug", "print", "debug"] {
        Space::Plain.function(name).set_into_module(module, |secret: &mut Secret| Ok::<_, Thrown>(secret.to_string()));
    }
}
