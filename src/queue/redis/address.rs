//! Where Redis is: one server, or some nodes of a cluster. Never shows a password, in errors neither.

use std::fmt;

use ::redis::{ConnectionInfo, IntoConnectionInfo};

use super::super::QueueError;

/// A server, or nodes of a cluster.
pub(super) struct Address {
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
}

impl Address {
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` for one server. Several of these with commas between them, or
    /// `redis+cluster://HOST[:PORT],HOST[:PORT]`, for a cluster; there the first name and password are those of all.
    pub(super) fn parse(text: &str) -> Result<Self, QueueError> {
        let mut nodes = Vec::new();
        let (mut is_cluster, mut first_login) = (text.contains(','), "");
        for (number, part) in text.split(',').map(str::trim).enumerate() {
            let rest = match part.split_once("://") {
                Some(("redis", rest)) => rest,
                Some(("redis+cluster", rest)) => {
                    is_cluster = true;
                    rest
                }
                None if number > 0 => part,
                _ => return Err(invalid("it begins with redis:// or redis+cluster://, and TLS is not supported")),
            };
            let (login, host) = rest.rfind('@').map_or(("", rest), |at| rest.split_at(at + 1));
            if number == 0 {
                first_login = login;
            }
            if host.is_empty() || host.starts_with('/') {
                return Err(invalid("it names no host"));
            }
            let login = if login.is_empty() { first_login } else { login };
            // What the parser complains of is left out: it may quote what it was given.
            let node = format!("redis://{login}{host}").into_connection_info();
            nodes.push(node.map_err(|_| invalid("it is no redis://[USER:PASSWORD@]HOST[:PORT][/DB]"))?);
        }
        Ok(Self { nodes, is_cluster })
    }
}

fn invalid(why: &str) -> QueueError {
    QueueError::Invalid(format!("the address of Redis makes no sense: {why}"))
}

impl fmt::Display for Address {
    /// Hosts and ports only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.write_str(&nodes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_one_server_or_of_a_cluster_and_are_shown_without_passwords() {
        let known = [
            ("redis://127.0.0.1:6380", "127.0.0.1:6380", false),
            ("redis://anna:geheim@localhost/2", "localhost:6379", false),
            ("redis://:geheim@a:1,b:2", "a:1,b:2", true),
            ("redis://a:1,redis://b:2", "a:1,b:2", true),
            ("redis+cluster://a:7000", "a:7000", true),
        ];
        for (text, shown, is_cluster) in known {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.to_string().as_str(), address.is_cluster), (shown, is_cluster), "{text}");
        }
        let both = Address::parse("redis://:geheim@a:1,b:2").expect("a cluster");
        assert!(both.nodes.iter().all(|node| node.redis_settings().password() == Some("geheim")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_quoted() {
        for text in
            ["", "geheim", "rediss://:geheim@a:1", "redis://:geheim@", "redis://:geheim@a:port", "redis://a/geheim"]
        {
            let error = Address::parse(text).err().expect(text).to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
