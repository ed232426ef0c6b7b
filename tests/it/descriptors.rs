//! Many descriptors: thousands of connections, and programs that have most of the numbers below 1,024 in use. Knows how
//! libcurl was built from the flags alone. Nothing here is about memory.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::try_join_all;
use marmot::prelude::*;
use marmot::{ErrorKind, HttpClient};

use crate::alone::run_alone;
use crate::support::{Canned, raise_descriptor_limit};

/// Where libcurl waits with `select()`, no connection can have a descriptor from here on.
const WALL: usize = 1024;
/// More than that by far.
const MANY: usize = 2000;
/// The server's address, in the environment of a process that is alone.
const SERVER: &str = "MARMOT_TEST_SERVER";

/// Whether libcurl waits with `poll()`; see `.cargo/config.toml`. `check.sh` runs these tests without it too.
fn polls() -> bool {
    option_env!("CFLAGS").is_some_and(|flags| flags.contains("-DHAVE_POLL"))
}

/// Runs the test in a process of its own, so that the server's descriptors are not the client's. `None` where that was
/// done; the server's address in there.
fn beside_a_server(test: &str, look: impl FnOnce(&Canned)) -> Option<String> {
    raise_descriptor_limit(2 * MANY as u64 + 1000);
    let mut server = None;
    let inside = run_alone(test, |command| {
        command.env(SERVER, server.insert(Canned::start()).origin());
    });
    if let Some(server) = server {
        look(&server);
    }
    inside.then(|| std::env::var(SERVER).unwrap())
}

/// Waits for so many responses at once, each of which takes so many milliseconds.
fn wait_for(client: &HttpClient, server: &str, requests: usize, milliseconds: u64) {
    let url = format!("{server}/wait/{milliseconds}");
    let all = try_join_all((0..requests).map(|_| async {
        let mut response = client.get_async(&url).await?;
        response.bytes().await.map(drop)
    }));
    block_on(all).unwrap();
}

fn open_files(count: usize) -> Vec<File> {
    (0..count).map(|_| File::open("/dev/null").unwrap()).collect()
}

#[test]
fn two_thousand_requests_wait_at_once_or_for_a_connection() {
    let name = "descriptors::two_thousand_requests_wait_at_once_or_for_a_connection";
    let server = beside_a_server(name, |server| {
        let most = server.most_open() as usize;
        assert_eq!(server.requests(), MANY as u64);
        let expected = if polls() { WALL + WALL / 2..MANY + 1 } else { WALL / 2..WALL };
        assert!(expected.contains(&most), "{most} at once");
    });
    if let Some(server) = server {
        // Long enough for a busy machine to connect most of them meanwhile.
        wait_for(&HttpClient::new().unwrap(), &server, MANY, if polls() { 2000 } else { 300 });
    }
}

#[test]
fn the_descriptors_of_the_program_leave_less_room_and_no_failures() {
    let name = "descriptors::the_descriptors_of_the_program_leave_less_room_and_no_failures";
    if let Some(server) = beside_a_server(name, |server| assert_eq!(server.requests(), MANY as u64)) {
        let _files = open_files(600);
        wait_for(&HttpClient::new().unwrap(), &server, MANY, 100);
    }
}

#[test]
fn clients_share_the_descriptors() {
    let name = "descriptors::clients_share_the_descriptors";
    if let Some(server) = beside_a_server(name, |server| assert_eq!(server.requests(), MANY as u64)) {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| wait_for(&HttpClient::new().unwrap(), &server, MANY / 4, 300));
            }
        });
    }
}

#[test]
fn a_program_with_more_files_than_the_wall_has_numbers_is_told_so_at_once() {
    let name = "descriptors::a_program_with_more_files_than_the_wall_has_numbers_is_told_so_at_once";
    let Some(server) = beside_a_server(name, |_| ()) else { return };
    let client = HttpClient::new().unwrap();
    let mut files = open_files(WALL + 100);
    let start = Instant::now();
    let result = client.get(format!("{server}/small"));
    if polls() {
        assert_eq!(result.unwrap().status(), 200);
    } else {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionFailed);
        assert!(error.to_string().contains("descriptor below 1024"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    files.truncate(WALL / 2);
    assert_eq!(client.get(format!("{server}/small")).unwrap().status(), 200);
}
