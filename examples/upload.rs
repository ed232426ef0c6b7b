//! Uploads: a form with a file and a stream of unknown length, a form of pairs, JSON, and a compressed file.
//! Starts its own server; asserts what it shows.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use marmot::Body;
use marmot::multipart::{Form, Part};
use marmot::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = serve()?;
    let url = format!("http://{server}/");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.csv");
    std::fs::write(&path, format!("name,kilos\n{}", "alma,4.1\n".repeat(10_000)))?;

    // All lengths are known: one Content-Length for the whole.
    let form = Form::new().text("season", "summer").part("weights", Part::file(&path)?);
    let expected = form.len().expect("texts and files have a length");
    let said = Request::post(&url).multipart(form)?.send()?.text()?;
    println!("a file of 90 kB in a form:   {said}");
    assert_eq!(said, format!("multipart/form-data, {expected} bytes, in one piece"));

    // A log that is being written has no length yet: the form is sent in chunks, as the log grows.
    let (log, mut writer) = io::pipe()?;
    let logger = thread::spawn(move || {
        for line in 0..1000 {
            writeln!(writer, "line {line}: whistled")?;
        }
        Ok::<_, io::Error>(())
    });
    let form = Form::new()
        .text("host", "burrow")
        .part("log", Part::reader(log).file_name("whistles.log").content_type("text/plain; charset=utf-8")?);
    assert_eq!(form.len(), None);
    let said = Request::post(&url).multipart(form)?.send()?.text()?;
    println!("a growing log in a form:     {said}");
    assert!(said.starts_with("multipart/form-data") && said.ends_with("in chunks"));
    logger.join().expect("the logger does not panic")?;

    // Without files, a shorter way; and the same asynchronously.
    let request = Request::post(&url).form([("name", "Alma & Bruno"), ("kilos", "4.1")])?;
    let said = futures::executor::block_on(async { request.send_async().await?.text().await })?;
    println!("pairs:                       {said}");
    assert_eq!(said, "application/x-www-form-urlencoded, 29 bytes, in one piece");

    #[cfg(feature = "json")]
    {
        let said = Request::put(&url).json(&["alma", "bruno"])?.send()?.text()?;
        println!("a list as JSON:              {said}");
        assert_eq!(said, "application/json, 16 bytes, in one piece");
    }

    #[cfg(feature = "gzip")]
    {
        let body = Body::from_path(&path)?.compressed(marmot::ContentCoding::Gzip)?;
        let request = Request::put(&url).header("content-type", "text/csv").header("content-encoding", "gzip");
        let said = request.body(body)?.send()?.text()?;
        println!("the file, compressed:        {said}");
        assert!(said.starts_with("text/csv") && said.ends_with("in chunks"));
    }
    let said = Request::put(&url).header("content-type", "text/csv").body(Body::from_path(&path)?)?.send()?.text()?;
    println!("the file alone:              {said}");
    assert_eq!(said, "text/csv, 90011 bytes, in one piece");
    Ok(())
}

/// A server that says what it got: the media type, the size, and whether the size was told first.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut media_type, mut length) = (String::new(), None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-type") => {
                    media_type = value.split(';').next().unwrap_or_default().to_owned();
                }
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok(),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let (total, how) = match length {
            Some(length) => (io::copy(&mut (&mut reader).take(length), &mut io::sink())?, "in one piece"),
            None => (read_chunks(&mut reader)?, "in chunks"),
        };
        let said = format!("{media_type}, {total} bytes, {how}");
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len())?;
    }
}

/// Chunks: a line with the size in hexadecimal digits, the data, an end of line; the last one is empty.
fn read_chunks(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        total += io::copy(&mut reader.take(size), &mut io::sink())?;
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(total);
        }
    }
}
