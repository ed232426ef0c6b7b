//! Server-sent events: a server that breaks off in the middle, a stream that goes on where it stopped, both ways to wait.
//! Starts its own server; asserts what it shows.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use marmot::{CancelToken, Error, ErrorKind, HttpClient};

/// What the server has to say; it breaks off after the second and the fourth.
const NEWS: [&str; 6] = ["alma woke up", "bruno ate", "cleo whistled", "all hid", "the eagle left", "all came out"];

fn main() -> Result<(), Error> {
    let server = serve().expect("a loopback port");
    let client = HttpClient::new()?;

    // Asynchronously, under the plainest executor there is.
    let mut events = client.events(format!("http://{server}/news"))?;
    let heard = futures::executor::block_on(async {
        let mut heard = Vec::new();
        while let Some(event) = events.next().await {
            let event = event?;
            println!("{} {}: {}", event.kind, event.id, event.data);
            heard.push(event.data);
        }
        Ok::<_, Error>(heard)
    })?;
    assert_eq!(heard, NEWS, "each of them once, over three connections");

    // Blocking, from the fifth on.
    let events = client.events(format!("http://{server}/news"))?.resume_after("4").blocking();
    let rest: Vec<String> = events.map(|event| event.map(|event| event.data)).collect::<Result<_, _>>()?;
    println!("again from the fifth: {rest:?}");
    assert_eq!(rest, NEWS[4..]);

    // Somebody else ends the wait.
    let token = CancelToken::new();
    let mut silent = client.events_blocking(format!("http://{server}/silence"))?.cancel_token(token.clone());
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        token.cancel();
    });
    let error = silent.next().expect("an error").expect_err("nothing is said here");
    println!("the silent one: {error}");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    canceller.join().expect("the token was cancelled");
    Ok(())
}

fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

/// One response to a connection, which then ends without having said so.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        match line?.to_ascii_lowercase() {
            end if end.is_empty() => break,
            line => head.push(line),
        }
    }
    let last = head.iter().find_map(|line| line.strip_prefix("last-event-id: ")?.parse().ok()).unwrap_or(0);
    if last == NEWS.len() {
        println!("  (the server has nothing more to say)");
        return stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
    println!("  (a connection, to go on after {last})");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    if head[0].contains("/silence") {
        // Until the client leaves.
        return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
    }
    let mut say = |text: &str| write!(stream, "{:x}\r\n{text}\r\n", text.len());
    say("retry: 50\n\n")?;
    for (number, news) in NEWS.iter().enumerate().skip(last).take(2) {
        say(&format!("event: news\nid: {}\n", number + 1))?;
        thread::sleep(Duration::from_millis(30));
        say(&format!("data: {news}\n\n"))?;
    }
    // The third never arrives whole, so it does not count.
    say("event: news\nid: 99\ndata: the end of the wor")
}
