//! A real nginx for TLS and HTTP/2, in a directory and with certificates of its own. It uses no file of the system's
//! nginx but the binary, and no other address than 127.0.0.1.
//!
//! Plain and TLS ports (`ssl http2`, so ALPN offers h2 and http/1.1) serve the same:
//!
//! | path | answer |
//! |---|---|
//! | `/small.txt`, `/1k.bin`, `/1m.bin` | files: 14 bytes of text, and [`pattern`] of 1 KiB and 1 MiB |
//! | `/NAME` | what [`Nginx::add_file`] and [`Nginx::add_sparse_file`] put there |
//! | `/gzip/NAME` | the same files, gzipped when asked for |
//! | `/slow/NAME` | the same files at 64 KiB a second |
//! | `/upload` | any method: reads the whole body, answers its length as text |
//! | `/status/CODE` | 200, 204, 400, 401, 403, 404, 429, 500, 502, 503 |
//! | `/redirect/self`, `/redirect/tls`, `/redirect/plain` | 302 to `/small.txt` here, on the TLS port, on the plain port |
//! | `/port`, `/hsts`, `/alt-svc`, `/alt-dead` | the port; with Strict-Transport-Security; with Alt-Svc to the HTTP/1.1 TLS port, to port 1 |
//! | `/who` | the subject of the client's certificate, the name of the server that the client sent (SNI), the TLS version |
//! | `/forward/PORT` | what the server on that port of 127.0.0.1 answers |
//! | `/proto` | `PROTOCOL CONNECTION REQUEST`: the version, the number of the connection, that of the request on it |

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::canned::pattern;
use super::certs::{Authority, BadCert, Leaf};
use super::ports::{ATTEMPTS, free_ports};
use super::program::find_program;

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running nginx; killed and its directory removed when dropped.
pub struct Nginx {
    child: Child,
    plain: u16,
    tls: u16,
    tls_http1: u16,
    /// Asks for a client certificate; knows TLS 1.2 only; knows TLS 1.3 only.
    special: [u16; 3],
    /// In the order of [`BadCert::ALL`].
    bad: Vec<u16>,
    // After the child, which is ended in `drop` and writes into it until then.
    dir: TempDir,
}

impl Nginx {
    /// Starts nginx and waits until it listens.
    ///
    /// # Errors
    ///
    /// What to do about it, in words: nginx is not installed, or what its error log says.
    pub fn start() -> Result<Self, String> {
        let binary =
            find_program("nginx").ok_or("nginx is not installed: `apt-get install nginx-light`, or put it on PATH")?;
        let dir = tempfile::Builder::new().prefix("marmot-nginx-").tempdir().map_err(text)?;
        prepare(dir.path()).map_err(text)?;
        let mut complaint = String::new();
        for _ in 0..ATTEMPTS {
            let ports = free_ports(6 + BadCert::ALL.len()).map_err(text)?;
            let (plain, tls, tls_http1, bad) = (ports[0], ports[1], ports[2], ports[6..].to_vec());
            let special = [ports[3], ports[4], ports[5]];
            let config = config(dir.path(), plain, tls, tls_http1, special, &bad);
            fs::write(dir.path().join("nginx.conf"), config).map_err(text)?;
            let mut child = spawn(&binary, dir.path()).map_err(|error| format!("{}: {error}", binary.display()))?;
            match wait_until_ready(&mut child, dir.path(), &ports) {
                Ok(()) => return Ok(Self { child, plain, tls, tls_http1, special, bad, dir }),
                Err(error) => complaint = format!("{error}\n{}", read_logs(dir.path())),
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        Err(format!("nginx does not start: {complaint}"))
    }

    /// `http://127.0.0.1:PORT/…`
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.plain)
    }

    /// `https://localhost:PORT/…`; trusted with [`ca_pem_path`](Self::ca_pem_path).
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.tls)
    }

    /// As [`tls_url`](Self::tls_url), of a port that knows HTTP/1.1 only.
    pub fn tls_http1_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.tls_http1)
    }

    /// `https://127.0.0.1:PORT/…`: the certificate names the address too.
    pub fn tls_ip_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.tls)
    }

    /// As [`tls_url`](Self::tls_url), of a port that asks for a client certificate of our authority and answers 400
    /// without one.
    pub fn client_certificate_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.special[0])
    }

    /// As [`tls_url`](Self::tls_url), of a port that knows TLS 1.2 only.
    pub fn tls12_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.special[1])
    }

    /// As [`tls_url`](Self::tls_url), of a port that knows TLS 1.3 only.
    pub fn tls13_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.special[2])
    }

    /// The certificate and key of the client `Marmot anna`, or of one that the authority does not know.
    pub fn client_files(&self, known: bool) -> [PathBuf; 2] {
        let name = if known { "client" } else { "stranger" };
        [self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key"))]
    }

    /// The certificate of the server at [`tls_url`](Self::tls_url).
    pub fn certificate_path(&self) -> PathBuf {
        self.dir.path().join("good.pem")
    }

    /// `https://localhost:PORT/…` with a certificate that has that fault.
    pub fn bad_url(&self, fault: BadCert, path: &str) -> String {
        let place = BadCert::ALL.iter().position(|known| *known == fault).expect("ALL holds every fault");
        format!("https://localhost:{}{path}", self.bad[place])
    }

    pub fn plain_port(&self) -> u16 {
        self.plain
    }

    pub fn tls_port(&self) -> u16 {
        self.tls
    }

    /// The certificate of the authority that signed all but the self-signed one.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn add_file(&self, name: &str, content: &[u8]) {
        fs::write(self.dir.path().join("files").join(name), content).expect("the directory can be written");
    }

    /// A file of zeros that takes no room on the disk; served as `/NAME`.
    pub fn add_sparse_file(&self, name: &str, bytes: u64) {
        let file = File::create(self.dir.path().join("files").join(name)).expect("the directory can be written");
        file.set_len(bytes).expect("the file system has sparse files");
    }

    /// What nginx complained of so far.
    pub fn error_log(&self) -> String {
        read_logs(self.dir.path())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Certificates and files.
fn prepare(dir: &Path) -> io::Result<()> {
    let write_leaf = |name: &str, leaf: Leaf| {
        fs::write(dir.join(format!("{name}.pem")), leaf.certificate)?;
        fs::write(dir.join(format!("{name}.key")), leaf.key)
    };
    let authority = Authority::new().map_err(io::Error::other)?;
    fs::write(dir.join("ca.pem"), authority.pem())?;
    write_leaf("good", authority.leaf(None).map_err(io::Error::other)?)?;
    for fault in BadCert::ALL {
        write_leaf(&format!("{fault:?}"), authority.leaf(Some(fault)).map_err(io::Error::other)?)?;
    }
    write_leaf("client", authority.client("Marmot anna").map_err(io::Error::other)?)?;
    let stranger = Authority::new().and_then(|other| other.client("Marmot bert")).map_err(io::Error::other)?;
    write_leaf("stranger", stranger)?;
    let files = dir.join("files");
    fs::create_dir(&files)?;
    fs::write(files.join("small.txt"), "a small file.\n")?;
    fs::write(files.join("1k.bin"), pattern(1024))?;
    fs::write(files.join("1m.bin"), pattern(1024 * 1024))
}

fn spawn(binary: &Path, dir: &Path) -> io::Result<Child> {
    let _ = fs::remove_file(dir.join("pid"));
    Command::new(binary)
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        // Before it has read the configuration it would open the system's log.
        .arg("-e")
        .arg(dir.join("error.log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(dir.join("stderr.log"))?)
        .spawn()
}

/// nginx writes its pid once all of its ports are bound, so that no other process answers there.
fn wait_until_ready(child: &mut Child, dir: &Path, ports: &[u16]) -> Result<(), String> {
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().map_err(text)? {
            return Err(format!("it ended with {status}"));
        }
        let bound = fs::metadata(dir.join("pid")).is_ok_and(|pid| pid.len() > 0);
        if bound && ports.iter().all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(format!("it does not listen after {START_LIMIT:?}"))
}

fn read_logs(dir: &Path) -> String {
    let read = |name| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let (log, stderr) = (read("error.log"), read("stderr.log"));
    // At start nginx writes the same complaints to both.
    if log.is_empty() { stderr } else { log }
}

fn config(dir: &Path, plain: u16, tls: u16, tls_http1: u16, special: [u16; 3], bad: &[u16]) -> String {
    let dir = dir.display();
    let statuses: String = [200, 204, 400, 401, 403, 404, 429, 500, 502, 503]
        .map(|code| format!("location = /status/{code} {{ return {code} \"status {code}\\n\"; }}\n"))
        .concat();
    let locations = format!(
        r#"
        root {dir}/files;
        location /gzip/ {{ alias {dir}/files/; gzip on; gzip_types *; gzip_min_length 1; }}
        location /slow/ {{ alias {dir}/files/; limit_rate 64k; }}
        location = /upload {{ proxy_pass http://127.0.0.1:{plain}/sink; proxy_set_header Connection close; }}
        location = /sink {{ return 200 "$http_content_length"; }}
        location = /redirect/self {{ return 302 /small.txt; }}
        location = /redirect/tls {{ return 302 https://localhost:{tls}/small.txt; }}
        location = /redirect/plain {{ return 302 http://127.0.0.1:{plain}/small.txt; }}
        location = /alt-svc {{ add_header Alt-Svc "http%2F1.1=\":{tls_http1}\"; ma=60"; return 200 "$server_port"; }}
        location = /alt-dead {{ add_header Alt-Svc "http%2F1.1=\":1\"; ma=60"; return 200 "$server_port"; }}
        location = /hsts {{ add_header Strict-Transport-Security "max-age=60"; return 200 "$server_port"; }}
        location = /port {{ return 200 "$server_port"; }}
        location = /who {{ return 200 "$ssl_client_s_dn|$ssl_server_name|$ssl_protocol"; }}
        location ~ ^/forward/(?<port>\d+)$ {{ proxy_pass http://127.0.0.1:$port; }}
        location = /proto {{ return 200 "$server_protocol $connection $connection_requests\n"; }}
        {statuses}"#
    );
    let [asks, tls12, tls13] = special;
    let only = |port: u16, setting: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {dir}/good.pem; \
             ssl_certificate_key {dir}/good.key; {setting}; {locations} }}\n"
        )
    };
    let special = [
        only(asks, &format!("ssl_verify_client on; ssl_client_certificate {dir}/ca.pem")),
        only(tls12, "ssl_protocols TLSv1.2"),
        only(tls13, "ssl_protocols TLSv1.3"),
    ]
    .concat();
    let server = |port: u16, name: &str, http2: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl {http2}; ssl_certificate {dir}/{name}.pem; \
             ssl_certificate_key {dir}/{name}.key; {locations} }}\n"
        )
    };
    let bad_servers: String =
        BadCert::ALL.iter().zip(bad).map(|(fault, port)| server(*port, &format!("{fault:?}"), "http2")).collect();
    format!(
        r#"
daemon off;
master_process off;
pid {dir}/pid;
error_log {dir}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    absolute_redirect off;
    default_type application/octet-stream;
    types {{ text/plain txt; application/json json; }}
    sendfile on;
    ssl_protocols TLSv1.2 TLSv1.3;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_buffer_size 256k;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{ listen 127.0.0.1:{plain}; {locations} }}
    {good}{http1}{special}{bad_servers}
}}
"#,
        good = server(tls, "good", "http2"),
        http1 = server(tls_http1, "good", ""),
    )
}
