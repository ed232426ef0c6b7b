//! A program that does nothing but requests: built with and without a feature of marmot. Called with a URL and a number.

use marmot::{Error, HttpClient, ReadResponseExt};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the first argument is a URL");
    let requests: usize = arguments.next().and_then(|number| number.parse().ok()).expect("the second one is a number");
    let client = HttpClient::new()?;
    for _ in 0..requests {
        assert_eq!(client.get(&url)?.bytes()?.len(), 102);
    }
    Ok(())
}
