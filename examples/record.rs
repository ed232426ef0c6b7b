//! Requests recorded against a real server and replayed when it is gone; an archive for the browser's tools. Starts its own
//! server; asserts what it shows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use marmot::cassette::Cassette;
use marmot::config::RedirectPolicy;
use marmot::har::HarRecorder;
use marmot::prelude::*;
use marmot::{Error, ErrorKind};

/// The program under test: signs in, is sent on to its account, and looks at it.
fn program(client: &HttpClient, origin: &str, password: &str) -> Result<String, Error> {
    let request = Request::post(format!("{origin}/login"))
        .header("content-type", "application/json")
        .body(format!(r#"{{"user":"anna","password":"{password}"}}"#))?;
    client.send(request)?.text()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("marmot-record-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (tape, archive) = (folder.join("login.jsonl"), folder.join("login.har"));
    let server = Server::start()?;
    let origin = format!("http://{}", server.address);

    // Once, against the real thing.
    let har = HarRecorder::new();
    let cassette = Cassette::record(&tape);
    let client = HttpClient::builder()
        .redirect_policy(RedirectPolicy::Follow)
        .cassette(cassette.clone())
        .har(har.clone())
        .build()?;
    let live = program(&client, &origin, "hunter2")?;
    cassette.check()?;
    println!("live:     {live}");
    server.stop();

    // From now on without it: nobody listens there, and no password is needed.
    let client =
        HttpClient::builder().redirect_policy(RedirectPolicy::Follow).cassette(Cassette::replay(&tape)).build()?;
    let replayed = program(&client, &origin, "")?;
    println!("replayed: {replayed}\n");
    assert_eq!(live.replace("t0p-secret", "[redacted]"), replayed);

    let error = client.get(format!("{origin}/acount")).expect_err("nothing like it was recorded");
    assert_eq!(error.kind(), ErrorKind::NoRecording);
    println!("{error}\n");

    // One line for the header, one for each hop. What is secret never got there.
    let lines = std::fs::read_to_string(&tape)?;
    print!("{lines}");
    assert_eq!(lines.lines().count(), 3);
    for secret in ["hunter2", "t0p-secret", "c00kie"] {
        assert!(!lines.contains(secret) && !har.to_json().contains(secret), "{secret} was written");
    }

    har.save(&archive)?;
    println!("\n{} bytes of HAR for {} requests", std::fs::metadata(&archive)?.len(), har.len());
    assert_eq!(har.len(), 2);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Answers on loopback until it is stopped.
struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = stopped.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let _ = answer(stream);
            }
        });
        Ok(Self { address, stopped, thread })
    }

    fn stop(self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The listener wakes up for one more connection, and closes.
        let _ = std::net::TcpStream::connect(self.address);
        self.thread.join().expect("the server does not panic");
    }
}

/// One request, one connection.
fn answer(mut stream: std::net::TcpStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    // The sign-in ends with its JSON, the other request with its head.
    let is_whole = |seen: &[u8]| match seen.starts_with(b"GET") {
        true => seen.ends_with(b"\r\n\r\n"),
        false => seen.ends_with(b"}"),
    };
    while !is_whole(&seen) {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            amount => seen.extend_from_slice(&piece[..amount]),
        }
    }
    let body = r#"{"balance":12,"api_key":"t0p-secret"}"#;
    let answer = if seen.starts_with(b"POST /login") {
        "HTTP/1.1 303 See Other\r\nLocation: /account?session=c00kie\r\nSet-Cookie: sid=c00kie; HttpOnly\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
    } else {
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    };
    stream.write_all(answer.as_bytes())
}
