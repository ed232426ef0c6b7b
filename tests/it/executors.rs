//! The same future under every executor, and blocking calls inside of them.

use marmot::prelude::*;
use marmot::{AsyncBody, Body, Error, ResponseFuture};

use crate::support::Server;

fn assert_send_static<T: Send + 'static>() {}

#[test]
fn futures_and_bodies_can_go_anywhere() {
    assert_send_static::<ResponseFuture>();
    assert_send_static::<AsyncBody>();
    assert_send_static::<Body>();
    assert_send_static::<HttpClient>();
    fn assert_sync<T: Sync>() {}
    assert_sync::<HttpClient>();
    assert_sync::<Error>();
}

async fn ask(client: HttpClient, url: String) -> Result<usize, Error> {
    let mut response = client.get_async(url).await?;
    Ok(response.bytes().await?.len())
}

#[test]
fn every_executor_will_do() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let url = || server.url("/bytes/200000");
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..5 {
        assert_eq!(futures::executor::block_on(ask(client.clone(), url())).unwrap(), 200_000);
        assert_eq!(many.block_on(ask(client.clone(), url())).unwrap(), 200_000);
        let spawned = many.spawn(ask(client.clone(), url()));
        assert_eq!(many.block_on(spawned).unwrap().unwrap(), 200_000);
        assert_eq!(one.block_on(ask(client.clone(), url())).unwrap(), 200_000);
        assert_eq!(smol::block_on(smol::spawn(ask(client.clone(), url()))).unwrap(), 200_000);
    }
}

#[test]
fn blocking_works_inside_of_every_executor() {
    let server = Server::faults();
    let client = HttpClient::new().unwrap();
    let blocking = || client.get(server.url("/bytes/200000")).unwrap().bytes().unwrap().len();
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(many.block_on(async { blocking() }), 200_000);
    assert_eq!(one.block_on(async { blocking() }), 200_000);
    assert_eq!(futures::executor::block_on(async { blocking() }), 200_000);
    assert_eq!(smol::block_on(async { blocking() }), 200_000);
}
