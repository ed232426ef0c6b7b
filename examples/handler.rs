//! A request handler of one's own: an upload that waits for another thread, and a timeout that is reacted to.
//! Starts its own server; asserts what it shows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use marmot::error::TimeoutPhase;
use marmot::handler::{Control, Decoder, Encoder, Handler, Next, Ready};
use marmot::{Error, HttpClient, Request, Response};

/// Uploads rows that another thread looks up. While there is none, the transfer is parked.
struct Upload {
    rows: std::sync::mpsc::Receiver<String>,
    /// Gives the control to the thread that looks up.
    start: Option<Box<dyn FnOnce(Control) + Send>>,
    answer: Vec<u8>,
}

impl Handler for Upload {
    fn on_request(&mut self, _request: &mut Request<()>, control: &Control) -> Next {
        if let Some(start) = self.start.take() {
            start(control.clone());
        }
        // Nothing to send yet. The head goes out; the body waits until somebody calls `ready`.
        Next::wait()
    }

    fn on_request_writable(&mut self, encoder: &mut Encoder<'_>) -> Next {
        use std::sync::mpsc::TryRecvError::{Disconnected, Empty};
        match self.rows.try_recv() {
            Ok(row) => {
                // A row is small; a larger one would have to be kept for the next call.
                assert_eq!(encoder.try_write(row.as_bytes()), Some(row.len()));
                Next::write()
            }
            Err(Empty) => Next::wait(),
            Err(Disconnected) => {
                encoder.end();
                Next::read()
            }
        }
    }

    fn on_response(&mut self, response: Response<()>) -> Next {
        println!("upload: {}", response.status());
        Next::read()
    }

    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        self.answer.extend_from_slice(decoder.data());
        decoder.consume(decoder.data().len());
        Next::read()
    }

    fn on_error(&mut self, error: Error) -> Next {
        println!("upload: {}", error.chain());
        Next::remove()
    }
}

/// Reads from a server that falls silent, is patient once, and then has enough.
#[derive(Default)]
struct Impatient {
    read: usize,
    timeouts: usize,
}

impl Handler for Impatient {
    fn on_request(&mut self, _request: &mut Request<()>, _control: &Control) -> Next {
        Next::read().timeout(Duration::from_millis(200))
    }

    fn on_response(&mut self, _response: Response<()>) -> Next {
        Next::read().timeout(Duration::from_millis(200))
    }

    fn on_response_readable(&mut self, decoder: &mut Decoder<'_>) -> Next {
        self.read += decoder.data().len();
        decoder.consume(decoder.data().len());
        Next::read().timeout(Duration::from_millis(200))
    }

    fn on_error(&mut self, error: Error) -> Next {
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Handler));
        self.timeouts += 1;
        println!("silence, for the {}. time: {error}", self.timeouts);
        match self.timeouts {
            1 => Next::read().timeout(Duration::from_millis(100)),
            _ => Next::remove(),
        }
    }
}

fn main() -> Result<(), Error> {
    let server = serve().expect("a loopback port");
    let client = HttpClient::new()?;

    // The thread stands for a database that takes its time over each row.
    let (sender, rows) = std::sync::mpsc::channel();
    let start = move |control: Control| {
        thread::spawn(move || {
            for row in ["alma,4.1\n", "bruno,5.3\n", "cleo,3.9\n"] {
                thread::sleep(Duration::from_millis(50));
                sender.send(row.to_owned()).expect("the handler lives");
                control.ready(Ready::write()).expect("the transfer lives");
            }
            drop(sender);
            let _ = control.ready(Ready::write());
        });
    };
    let upload = Upload { rows, start: Some(Box::new(start)), answer: Vec::new() };
    let request = Request::post(format!("http://{server}/upload")).body(())?;
    let upload = client.drive(request, upload).wait()?;
    println!("upload: the server says {:?}", String::from_utf8_lossy(&upload.answer));
    assert_eq!(upload.answer, b"got 28 bytes");

    let begun = Instant::now();
    let request = Request::get(format!("http://{server}/silence")).body(())?;
    let impatient = client.drive(request, Impatient::default()).wait()?;
    assert_eq!((impatient.read, impatient.timeouts), (5, 2));
    assert!(begun.elapsed() < Duration::from_secs(5));
    println!("gave up after {} bytes and two timeouts", impatient.read);
    Ok(())
}

/// A server with two answers: it counts what is uploaded, and it begins a body that it never ends.
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

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
        let amount = stream.read(&mut buffer)?;
        seen.extend_from_slice(&buffer[..amount]);
    }
    if seen.starts_with(b"GET") {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")?;
        // Silent until the client leaves.
        return stream.read(&mut buffer).map(drop);
    }
    let head = seen.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    while !seen[head..].ends_with(b"0\r\n\r\n") {
        let amount = stream.read(&mut buffer)?;
        seen.extend_from_slice(&buffer[..amount]);
    }
    let body = String::from_utf8_lossy(&seen[head..]);
    // Chunks: a line with the size, a line with the data (here one, with its own end of line).
    let total: usize = body.lines().filter_map(|line| usize::from_str_radix(line, 16).ok()).sum();
    let reply = format!("got {total} bytes");
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{reply}", reply.len())
}
