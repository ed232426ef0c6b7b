//! A download from a server that breaks off again and again, drawn as a bar; then what retries and a policy do with servers
//! in trouble. Starts its own server; asserts what it shows.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use marmot::config::{EgressPolicy, RetryPolicy};
use marmot::prelude::*;
use marmot::{Error, ErrorKind};

const SIZE: usize = 4 << 20;
/// The server breaks off after so many bytes.
const BREAK: usize = 900_000;

fn main() -> Result<(), Error> {
    let server = serve().expect("a loopback port");
    let folder = tempfile::tempdir().map_err(Error::from)?;
    let path = folder.path().join("mountain.bin");

    println!("A file of {SIZE} bytes, from a server that breaks off after every {BREAK}:");
    let done = HttpClient::new()?
        .download(format!("http://{server}/file"), &path)?
        .on_bytes(|so_far, size| draw(so_far, size.unwrap_or(so_far)))
        .send()?;
    println!("whole after {} requests", done.attempts);
    let content = std::fs::read(&path).map_err(Error::from)?;
    assert!(content.len() == SIZE && content.iter().enumerate().all(|(at, byte)| *byte == byte_at(at)));
    assert_eq!(done.attempts as usize, SIZE.div_ceil(BREAK));

    println!("\nA server that is busy twice:");
    let client = HttpClient::builder()
        .retry(RetryPolicy::new().backoff(Duration::from_millis(20), Duration::from_millis(200)))
        .egress(EgressPolicy::public_internet().allow_addresses([server.ip().to_string()]))
        .build()?;
    let mut response = client.get(format!("http://{server}/busy"))?;
    println!("{} after {} attempts: {}", response.status(), response.attempts(), response.text()?);
    assert_eq!(response.attempts(), 3);

    println!("\nPlaces that the policy of this client does not allow:");
    for url in ["http://192.168.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://0x7f.2/"] {
        let error = client.get(url).expect_err("nobody is asked");
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::EgressDenied);
    }
    Ok(())
}

fn draw(so_far: u64, size: u64) {
    let full = (so_far * 40 / size.max(1)) as usize;
    println!("[{}{}] {:>3} %", "#".repeat(full), ".".repeat(40 - full), so_far * 100 / size.max(1));
}

fn byte_at(position: usize) -> u8 {
    (position % 251) as u8
}

fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let busy = AtomicUsize::new(0);
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &busy);
        }
    });
    Ok(address)
}

/// One response to a connection, which then ends.
fn answer(mut stream: TcpStream, busy: &AtomicUsize) -> std::io::Result<()> {
    let mut head = Vec::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        match line?.to_ascii_lowercase() {
            end if end.is_empty() => break,
            line => head.push(line),
        }
    }
    if head[0].contains("/busy") {
        return match busy.fetch_add(1, SeqCst) {
            0 | 1 => {
                println!("  (503, come back)");
                stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nready"),
        };
    }
    let range = head.iter().find_map(|line| line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok());
    let start: usize = range.unwrap_or(0);
    let length = SIZE - start;
    let status = match range {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{SIZE}", SIZE - 1),
        None => "200 OK".to_owned(),
    };
    let head = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let body: Vec<u8> = (start..SIZE).take(BREAK).map(byte_at).collect();
    for piece in body.chunks(300_000) {
        stream.write_all(piece)?;
        thread::sleep(Duration::from_millis(60));
    }
    println!("  (breaks off at {})", start + body.len());
    Ok(())
}
