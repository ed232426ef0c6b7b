//! Downloads that break off and go on: never a torn file, never a byte of something else.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::executor::block_on;
use marmot::prelude::*;
use marmot::{Download, Downloaded, Error, ErrorKind};

use crate::support::{Request as Seen, Responder, Server, pattern};

const SIZE: usize = 2_000_000;

/// How the server behaves.
#[derive(Clone)]
struct Behaviour {
    content: Vec<u8>,
    validator: Option<(&'static str, &'static str)>,
    ranges: bool,
    /// Bytes after which a response breaks off, for so many responses.
    breaks: (usize, usize),
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { content: pattern(SIZE), validator: Some(("ETag", "\"v1\"")), ranges: true, breaks: (0, 0) }
    }
}

/// A server with one file, whose behaviour can be changed while it runs.
fn start(behaviour: Behaviour) -> (Server, Arc<Mutex<Behaviour>>) {
    let shared = Arc::new(Mutex::new(behaviour));
    let broken = AtomicUsize::new(0);
    let own = shared.clone();
    let server = Server::start(move |request, answer| {
        let behaviour = own.lock().unwrap().clone();
        if request.target == "/moved" {
            return answer.send(302, &[("Location", "/file")], b"");
        }
        let cut = (broken.fetch_add(1, SeqCst) < behaviour.breaks.1).then_some(behaviour.breaks.0);
        respond(&behaviour, request, answer, cut)
    });
    (server, shared)
}

fn respond(file: &Behaviour, request: &Seen, answer: &mut Responder<'_>, cut: Option<usize>) -> std::io::Result<()> {
    let validator = file.validator.map(|(_, value)| value);
    let wanted = request.header("range").filter(|_| file.ranges && request.header("if-range") == validator);
    let start: usize = wanted.map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
    let total = file.content.len();
    if wanted.is_some() && start >= total {
        return answer.send(416, &[("Content-Range", &format!("bytes */{total}"))], b"");
    }
    let body = &file.content[start..];
    let (length, range) = (body.len().to_string(), format!("bytes {start}-{}/{total}", total - 1));
    let mut headers = vec![("Content-Length", length.as_str())];
    headers.extend(file.validator);
    if wanted.is_some() {
        headers.push(("Content-Range", &range));
    }
    answer.head(if wanted.is_some() { 206 } else { 200 }, &headers)?;
    match cut {
        Some(bytes) => {
            answer.body(&body[..bytes.min(body.len())])?;
            answer.close();
            Ok(())
        }
        None => answer.body(body),
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("file.bin")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn download(server: &Server, folder: &Folder) -> Download {
    HttpClient::new().unwrap().download(server.url("/file"), folder.file()).unwrap()
}

#[track_caller]
fn is_whole(folder: &Folder, done: &Result<Downloaded, Error>, content: &[u8]) {
    let done = done.as_ref().unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(done.bytes, content.len() as u64);
    assert!(fs::read(folder.file()).unwrap() == content, "the content differs");
    assert_eq!(folder.names(), ["file.bin"], "nothing else is left");
}

#[test]
fn a_file_comes_whole_over_a_redirect() {
    let (server, _) = start(Behaviour::default());
    let folder = Folder::new();
    let done = HttpClient::new().unwrap().download(server.url("/moved"), folder.file()).unwrap().send();
    is_whole(&folder, &done, &pattern(SIZE));
    let done = done.unwrap();
    assert_eq!((done.attempts, done.resumed_from, done.response.status().as_u16()), (1, 0, 200));
    // An existing file is replaced.
    is_whole(&folder, &download(&server, &folder).send(), &pattern(SIZE));
}

#[test]
fn broken_connections_are_gone_on_from() {
    let (server, _) = start(Behaviour { breaks: (300_000, 4), ..Behaviour::default() });
    let folder = Folder::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = told.clone();
    let done = download(&server, &folder).on_bytes(move |now, size| sink.lock().unwrap().push((now, size))).send();
    is_whole(&folder, &done, &pattern(SIZE));
    assert_eq!(done.unwrap().attempts, 5);
    let ranges: Vec<_> = server.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[4].as_deref(), Some("bytes=1200000-"));
    assert_eq!(told.lock().unwrap().last(), Some(&(SIZE as u64, Some(SIZE as u64))));
}

#[test]
fn a_later_download_goes_on_with_the_part_of_an_earlier_one() {
    let (server, behaviour) = start(Behaviour { breaks: (500_000, usize::MAX), ..Behaviour::default() });
    let folder = Folder::new();
    let error = download(&server, &folder).max_attempts(1).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseBodyTruncated);
    assert_eq!(folder.names(), ["file.bin.part", "file.bin.part.info"], "no torn file under the final name");
    behaviour.lock().unwrap().breaks = (0, 0);
    let done = download(&server, &folder).send();
    is_whole(&folder, &done, &pattern(SIZE));
    assert_eq!(done.unwrap().resumed_from, 500_000);
    assert_eq!(server.last_request().header("if-range"), Some("\"v1\""));
}

#[test]
fn content_that_changed_meanwhile_is_fetched_anew() {
    for (old, new) in [
        (Some(("ETag", "\"v1\"")), Some(("ETag", "\"v2\""))),
        (
            Some(("Last-Modified", "Fri, 31 Dec 1999 23:59:59 GMT")),
            Some(("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")),
        ),
        (Some(("ETag", "\"v1\"")), None),
    ] {
        let (server, behaviour) =
            start(Behaviour { validator: old, breaks: (500_000, usize::MAX), ..Behaviour::default() });
        let folder = Folder::new();
        assert!(download(&server, &folder).max_attempts(1).send().is_err());
        let content: Vec<u8> = pattern(SIZE).into_iter().rev().collect();
        *behaviour.lock().unwrap() = Behaviour { content: content.clone(), validator: new, ..Behaviour::default() };
        let done = download(&server, &folder).send();
        is_whole(&folder, &done, &content);
        assert_eq!(done.unwrap().resumed_from, 0);
    }
}

#[test]
fn without_a_validator_or_ranges_it_begins_anew_each_time() {
    for behaviour in [
        Behaviour { validator: None, breaks: (500_000, 2), ..Behaviour::default() },
        Behaviour { validator: Some(("ETag", "W/\"weak\"")), breaks: (500_000, 2), ..Behaviour::default() },
        Behaviour { ranges: false, breaks: (500_000, 2), ..Behaviour::default() },
    ] {
        let (server, _) = start(behaviour);
        let folder = Folder::new();
        is_whole(&folder, &download(&server, &folder).send(), &pattern(SIZE));
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn a_part_that_is_already_whole_and_one_that_is_too_long_both_end_well() {
    let (server, behaviour) = start(Behaviour { breaks: (500_000, 1), ..Behaviour::default() });
    let folder = Folder::new();
    assert!(download(&server, &folder).max_attempts(1).send().is_err());
    fs::write(folder.file().with_file_name("file.bin.part"), pattern(SIZE)).unwrap();
    is_whole(&folder, &download(&server, &folder).send(), &pattern(SIZE));

    behaviour.lock().unwrap().breaks = (500_000, usize::MAX);
    fs::remove_file(folder.file()).unwrap();
    assert!(download(&server, &folder).max_attempts(1).send().is_err());
    fs::write(folder.file().with_file_name("file.bin.part"), pattern(SIZE + 7)).unwrap();
    behaviour.lock().unwrap().breaks = (0, 0);
    is_whole(&folder, &download(&server, &folder).send(), &pattern(SIZE));
}

#[test]
fn a_partial_response_that_does_not_fit_is_not_appended() {
    let hits = AtomicUsize::new(0);
    let content = pattern(SIZE);
    let own = content.clone();
    let server = Server::start(move |request, answer| {
        let all = format!("bytes 100-{}/{SIZE}", SIZE - 1);
        match (hits.fetch_add(1, SeqCst), request.header("range")) {
            (0, _) => {
                answer.head(200, &[("ETag", "\"v1\""), ("Content-Length", &SIZE.to_string())])?;
                answer.body(&own[..500_000])?;
                answer.close();
                Ok(())
            }
            // Not what was asked for.
            (_, Some(_)) => answer.send(206, &[("ETag", "\"v1\""), ("Content-Range", &all)], &own[100..]),
            (_, None) => answer.send(200, &[("ETag", "\"v1\"")], &own),
        }
    });
    let folder = Folder::new();
    is_whole(&folder, &download(&server, &folder).send(), &content);
}

#[test]
fn other_statuses_and_hopeless_servers_fail_with_their_reason() {
    let server = Server::faults();
    let folder = Folder::new();
    let get = |path: &str| HttpClient::new().unwrap().download(server.url(path), folder.file()).unwrap();
    let error = get("/status/404").send().unwrap_err();
    assert_eq!((error.kind(), error.status().map(|status| status.as_u16())), (ErrorKind::UnexpectedStatus, Some(404)));
    let error = get("/status/503").max_attempts(2).send().unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::UnexpectedStatus, 2));
    let error = get("/reset/before-head").max_attempts(3).send().unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Io, 3));
    assert!(!folder.file().exists());
    let nowhere = HttpClient::new().unwrap().download(server.url("/get"), "/no/such/folder/file").unwrap();
    assert_eq!(nowhere.send().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn two_downloads_of_one_file_do_not_mix() {
    let server = Server::faults();
    let folder = Folder::new();
    let client = HttpClient::new().unwrap();
    let first = client.download(server.url("/slow-drip/1000/20"), folder.file()).unwrap().send_async();
    assert!(server.wait_for_heads(1, Duration::from_secs(10)));
    let error = client.download(server.url("/get"), folder.file()).unwrap().send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("another download"), "{error}");
    drop(first);
    assert!(server.wait_for_close("/slow-drip", Duration::from_secs(10)).is_some(), "dropping the future ends it");
}

#[test]
fn asynchronous_downloads_do_the_same() {
    let (server, _) = start(Behaviour { breaks: (700_000, 1), ..Behaviour::default() });
    let folder = Folder::new();
    is_whole(&folder, &block_on(download(&server, &folder).send_async()), &pattern(SIZE));
}

#[test]
fn a_limit_of_size_holds_for_all_responses_together() {
    let server = Server::start(|request, responder| {
        let start =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let range = format!("bytes {0}-{1}/*", start.unwrap_or(0), start.unwrap_or(0) + 899);
        let headers = [("ETag", "\"1\""), ("Content-Range", range.as_str())];
        responder
            .start_chunked(if start.is_some() { 206 } else { 200 }, &headers[..1 + usize::from(start.is_some())])?;
        responder.chunk(&[b'x'; 900])?;
        responder.close();
        Ok(())
    });
    let folder = tempfile::tempdir().unwrap();
    let client = HttpClient::builder().max_response_size(2000).build().unwrap();
    let error = client.download(server.url("/"), folder.path().join("file")).unwrap().send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
    assert_eq!(server.requests().len(), 3, "each of them was small enough");
    assert!(fs::metadata(folder.path().join("file.part")).unwrap().len() <= 2000);
}
