//! The clients that are counted, each doing the same: requests one after the other, bodies into memory. Counts nothing.

use std::error::Error;
use std::time::Duration;

use curl::easy::{Easy2, Handler, WriteError};
use curl::multi::Multi;
use futures::executor::block_on;
use marmot::config::{Configurable, EgressPolicy, RedirectPolicy, RetryPolicy};
use marmot::cookies::CookieJar;
use marmot::{HttpClient, HttpClientBuilder};
use marmot_bench::server::SMALL;

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

pub struct Client {
    pub name: &'static str,
    /// Makes a client and sends so many requests to the URL.
    pub run: fn(&str, usize) -> Outcome,
}

/// In the order of the table.
pub const CLIENTS: &[Client] = &[
    Client { name: "raw libcurl, easy", run: raw_easy },
    Client { name: "raw libcurl, multi", run: raw_multi },
    Client { name: "ureq", run: ureq },
    Client { name: "reqwest-ct", run: reqwest },
    Client { name: "reqwest-blocking", run: reqwest_blocking },
    Client { name: "isahc", run: isahc },
    Client { name: "isahc-blocking", run: isahc_blocking },
    Client { name: "marmot", run: asynchronous },
    Client { name: "marmot-blocking", run: |url, requests| blocking(HttpClient::builder(), url, requests) },
];

/// marmot, blocking, where one thread does all of it, with what is off by default. The first one is what the others are
/// compared with.
pub const SETTINGS: &[Client] = &[
    Client { name: "default", run: |url, requests| blocking(HttpClient::builder(), url, requests) },
    Client { name: "metrics on", run: |url, requests| blocking(HttpClient::builder().metrics(true), url, requests) },
    Client {
        name: "egress policy on",
        run: |url, requests| blocking(HttpClient::builder().egress(policy()), url, requests),
    },
    Client {
        name: "empty cookie jar",
        run: |url, requests| blocking(HttpClient::builder().cookie_jar(CookieJar::new()), url, requests),
    },
    Client { name: "cookie jar with a cookie", run: with_a_cookie },
    Client {
        name: "redirects followed, none met",
        run: |url, requests| blocking(HttpClient::builder().redirect_policy(RedirectPolicy::Limit(10)), url, requests),
    },
    Client {
        name: "retries, none needed",
        run: |url, requests| blocking(HttpClient::builder().retry(RetryPolicy::new()), url, requests),
    },
    Client {
        name: "all of these",
        run: |url, requests| {
            let builder = HttpClient::builder().metrics(true).egress(policy()).cookie_jar(CookieJar::new());
            blocking(builder.redirect_policy(RedirectPolicy::Limit(10)).retry(RetryPolicy::new()), url, requests)
        },
    },
];

/// Three rules, all of which are looked at and let the request pass.
fn policy() -> EgressPolicy {
    EgressPolicy::new().allow_hosts(["127.0.0.1"]).allow_ports(1..=65535).allow_addresses(["127.0.0.0/8"])
}

fn check(length: usize) -> Outcome {
    if length == SMALL.len() { Ok(()) } else { Err(format!("{length} bytes instead of {}", SMALL.len()).into()) }
}

fn asynchronous(url: &str, requests: usize) -> Outcome {
    use marmot::AsyncReadResponseExt;
    let client = HttpClient::new()?;
    block_on(async {
        for _ in 0..requests {
            check(client.get_async(url).await?.bytes().await?.len())?;
        }
        Ok(())
    })
}

fn with_a_cookie(url: &str, requests: usize) -> Outcome {
    let jar = CookieJar::new();
    jar.set("session=0123456789abcdef; Path=/", &url.parse()?)?;
    blocking(HttpClient::builder().cookie_jar(jar), url, requests)
}

fn blocking(builder: HttpClientBuilder, url: &str, requests: usize) -> Outcome {
    use marmot::ReadResponseExt;
    let client = builder.build()?;
    (0..requests).try_for_each(|_| check(client.get(url)?.bytes()?.len()))
}

fn isahc(url: &str, requests: usize) -> Outcome {
    use isahc::AsyncReadResponseExt;
    let client = isahc::HttpClient::new()?;
    block_on(async {
        for _ in 0..requests {
            check(client.get_async(url).await?.bytes().await?.len())?;
        }
        Ok(())
    })
}

fn isahc_blocking(url: &str, requests: usize) -> Outcome {
    use isahc::ReadResponseExt;
    let client = isahc::HttpClient::new()?;
    (0..requests).try_for_each(|_| check(client.get(url)?.bytes()?.len()))
}

fn ureq(url: &str, requests: usize) -> Outcome {
    let agent = ureq::Agent::new_with_defaults();
    (0..requests).try_for_each(|_| check(agent.get(url).call()?.body_mut().read_to_vec()?.len()))
}

fn reqwest(url: &str, requests: usize) -> Outcome {
    let client = reqwest::Client::new();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        for _ in 0..requests {
            check(client.get(url).send().await?.bytes().await?.len())?;
        }
        Ok(())
    })
}

fn reqwest_blocking(url: &str, requests: usize) -> Outcome {
    let client = reqwest::blocking::Client::new();
    (0..requests).try_for_each(|_| check(client.get(url).send()?.bytes()?.len()))
}

/// Where the raw loops put a body.
#[derive(Default)]
struct Body(Vec<u8>);

impl Handler for Body {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.0.extend_from_slice(data);
        Ok(data.len())
    }
}

fn raw_easy(url: &str, requests: usize) -> Outcome {
    let mut easy = Easy2::new(Body::default());
    easy.url(url)?;
    for _ in 0..requests {
        easy.perform()?;
        check(std::mem::take(&mut easy.get_mut().0).len())?;
    }
    Ok(())
}

fn raw_multi(url: &str, requests: usize) -> Outcome {
    let multi = Multi::new();
    let mut easy = Easy2::new(Body::default());
    easy.url(url)?;
    for _ in 0..requests {
        let handle = multi.add2(easy)?;
        while multi.perform()? > 0 {
            multi.poll(&mut [], Duration::from_secs(10))?;
        }
        easy = multi.remove2(handle)?;
        check(std::mem::take(&mut easy.get_mut().0).len())?;
    }
    Ok(())
}
