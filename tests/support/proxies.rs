//! Real proxies, with a configuration of their own, on 127.0.0.1 only.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::certs::Authority;
use super::program::{Program, open_to_all};

/// An HTTP proxy that asks nobody who they are.
pub struct Tinyproxy(Program);

impl Tinyproxy {
    pub fn start() -> Self {
        Self(Program::start(
            "tinyproxy",
            "tinyproxy-bin",
            1,
            |dir, ports| {
                let config = format!(
                    "Port {}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nAllow 127.0.0.1\nLogLevel Error\nDisableViaHeader No\n",
                    ports[0]
                );
                fs::write(dir.join("tinyproxy.conf"), config)?;
                Ok(["-d", "-c"].map(String::from).into_iter().chain([path(dir.join("tinyproxy.conf"))]).collect())
            },
            |_| Some(true),
        ))
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.ports[0])
    }
}

/// An HTTP proxy that knows its users: `anna` with the password `s3cret` by basic, `dora` with `d1gest` by digest
/// authentication. It forbids `forbidden.test`. Its second port speaks TLS.
pub struct Squid(Program);

impl Squid {
    pub fn start() -> Self {
        Self(Program::start(
            "squid",
            "squid",
            2,
            |dir, ports| {
                let authority = Authority::new().map_err(std::io::Error::other)?;
                let leaf = authority.leaf(None).map_err(std::io::Error::other)?;
                let hash = Command::new("openssl").args(["passwd", "-apr1", "s3cret"]).output()?;
                for (name, content) in [
                    ("ca.pem", authority.pem()),
                    ("cert.pem", [leaf.certificate.as_str(), &leaf.key].concat()),
                    ("key.pem", leaf.key),
                    ("basic", format!("anna:{}", String::from_utf8_lossy(&hash.stdout))),
                    ("digest", "dora:d1gest\n".into()),
                    ("cache.log", String::new()),
                    ("squid.conf", squid_config(&dir.display().to_string(), ports)),
                ] {
                    fs::write(dir.join(name), content)?;
                    open_to_all(&dir.join(name));
                }
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(dir.join("cache.log"), fs::Permissions::from_mode(0o666))?;
                Ok(["-N", "-f"].map(String::from).into_iter().chain([path(dir.join("squid.conf"))]).collect())
            },
            |dir| {
                let log = fs::read_to_string(dir.join("cache.log")).unwrap_or_default();
                let failed = log.contains("annot bind") || log.contains("Unable to open");
                let all = log.contains("Accepting HTTP Socket") && log.contains("Accepting HTTPS Socket");
                (failed || all).then_some(!failed)
            },
        ))
    }

    /// `http://localhost:PORT`
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.0.ports[0])
    }

    /// `https://localhost:PORT`, trusted with [`ca_pem_path`](Self::ca_pem_path).
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.0.ports[1])
    }

    pub fn ca_pem_path(&self) -> PathBuf {
        self.0.dir.path().join("ca.pem")
    }
}

fn squid_config(dir: &str, ports: &[u16]) -> String {
    let helpers = "/usr/lib/squid";
    format!(
        "http_port 127.0.0.1:{plain}
https_port 127.0.0.1:{tls} tls-cert={dir}/cert.pem tls-key={dir}/key.pem
udp_incoming_address 127.0.0.1
dns_nameservers 127.0.0.1
pid_filename none
cache_log {dir}/cache.log
access_log none
cache deny all
cache_mem 1 MB
netdb_filename none
pinger_enable off
coredump_dir {dir}
shutdown_lifetime 0 seconds
visible_hostname localhost
max_filedescriptors 1024
via off
forwarded_for delete
auth_param basic program {helpers}/basic_ncsa_auth {dir}/basic
auth_param basic children 2 startup=1
auth_param basic realm squid
auth_param digest program {helpers}/digest_file_auth {dir}/digest
auth_param digest children 2 startup=1
auth_param digest realm squid
acl forbidden dstdomain forbidden.test
acl known proxy_auth REQUIRED
http_access deny forbidden
http_access allow known
http_access deny all
",
        plain = ports[0],
        tls = ports[1],
    )
}

/// A SOCKS proxy, versions 4 and 5, that asks nobody who they are.
pub struct Danted(Program);

impl Danted {
    pub fn start() -> Self {
        Self(Program::start(
            "danted",
            "dante-server",
            1,
            |dir, ports| {
                let config = format!(
                    "logoutput: {dir}/danted.log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
",
                    dir = dir.display(),
                    port = ports[0],
                );
                fs::write(dir.join("danted.conf"), config)?;
                Ok(vec!["-f".into(), path(dir.join("danted.conf")), "-p".into(), path(dir.join("pid"))])
            },
            |_| Some(true),
        ))
    }

    pub fn port(&self) -> u16 {
        self.0.ports[0]
    }
}

fn path(path: PathBuf) -> String {
    path.to_str().expect("temporary directories have plain names").to_owned()
}
