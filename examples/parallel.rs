//! A hundred requests at once from one thread, without a runtime. Starts its own server; asserts what it shows.

use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use marmot::Error;
use marmot::prelude::*;
use std::time::{Duration, Instant};

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> Result<(), Error> {
    let server = support::Canned::start();
    let client = HttpClient::new()?;
    let start = Instant::now();
    let total: usize = client.block_on(async {
        let requests: FuturesUnordered<_> = (0..100)
            .map(|_| async {
                let mut response = client.get_async(server.url("/wait/200")).await?;
                Ok::<_, Error>(response.bytes().await?.len())
            })
            .collect();
        requests.try_fold(0, |sum, bytes| std::future::ready(Ok(sum + bytes))).await
    })?;
    let took = start.elapsed();
    println!("100 answers, each 200 ms in the making, {total} bytes in all: {took:?}");
    assert!(took < Duration::from_secs(5), "side by side, not one after the other");

    // A body is a stream of chunks; what is not read waits with the server.
    let bytes: usize = client.block_on(async {
        let response = client.get_async(server.url("/stream/10000000")).await?;
        let chunks = response.into_body().map(|chunk| chunk.map(|chunk| chunk.len()));
        chunks.try_fold(0, |sum, bytes| std::future::ready(Ok(sum + bytes))).await.map_err(Error::from)
    })?;
    println!("{bytes} bytes streamed");
    assert_eq!(bytes, 10_000_000);
    Ok(())
}
