//! Reads the feed of a queue and rings its bells: one blocking reader for each process. Changes nothing in Redis.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{RedisResult, Value, cmd};

use super::super::Bells;
use super::super::time::millis;
use super::connection::{Connection, Connector};
use super::reply::{Reply, text};

/// How long a read waits for an entry. After it the reader sees whether the feed was begun anew.
pub(super) const BLOCK: Duration = Duration::from_secs(5);
/// The most entries of one read.
const BATCH: usize = 1_000;
/// How long the reader waits before it connects again; doubled each time.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
const AFTER_FAILURES: Duration = Duration::from_secs(1);

/// A reader that stands in the feed.
pub(super) struct Reader {
    connection: Connection,
    key: String,
    /// The number of the last entry that it knows.
    last: u64,
}

impl Reader {
    /// One that hears of all that happens from now on.
    pub(super) async fn connect(connector: &Connector, key: &str) -> RedisResult<Self> {
        let connection = connector.connect_for_feed(BLOCK).await?;
        let mut reader = Self { connection, key: key.to_owned(), last: 0 };
        reader.last = reader.newest().await?;
        Ok(reader)
    }

    /// The number of the newest entry.
    async fn newest(&mut self) -> RedisResult<u64> {
        let mut command = cmd("XREVRANGE");
        command.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let entries = Reply::array(self.connection.ask(&command).await?);
        Ok(entries.into_iter().find_map(|entry| number(&entry)).unwrap_or_default())
    }

    /// Waits for entries and rings for them.
    async fn read(&mut self, bells: &Bells) -> RedisResult<()> {
        let mut command = cmd("XREAD");
        let block = millis(BLOCK);
        command.arg("COUNT").arg(BATCH).arg("BLOCK").arg(block).arg("STREAMS").arg(&self.key);
        command.arg(format!("{}-0", self.last));
        let entries = entries(self.connection.ask(&command).await?);
        if entries.is_empty() {
            // A node that was not up to date has taken over, or somebody has emptied the database: the numbers went back.
            let newest = self.newest().await?;
            if newest < self.last {
                self.last = newest;
                bells.ring_all();
            }
        }
        for (number, fields) in entries {
            if number != self.last + 1 {
                // Trimmed before it was read.
                bells.ring_all();
            }
            self.last = number;
            for pair in fields.chunks(2) {
                let [name, value] = pair else { continue };
                let jobs = value.split(' ').filter_map(|id| id.parse().ok());
                match name.as_str() {
                    "news" => jobs.for_each(|id| bells.ring(id)),
                    "orders" => jobs.for_each(|id| bells.ring_for_orders(id)),
                    // One permit is kept, so a number above that of the workers does nothing.
                    "work" => (0..value.parse::<u64>().unwrap_or_default().min(64)).for_each(|_| bells.ring_for_work()),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Reads until it is aborted. After each new connection all look again, as nobody knows what they have missed.
pub(super) async fn follow(mut reader: Reader, connector: Arc<Connector>, bells: Bells) {
    loop {
        let error = loop {
            if let Err(error) = reader.read(&bells).await {
                break error;
            }
        };
        tracing::warn!(%error, "the feed of the queue cannot be read; connecting again");
        let mut pause = AFTER_FAILURE;
        reader = loop {
            tokio::time::sleep(pause).await;
            match Reader::connect(&connector, &reader.key).await {
                Ok(reader) => break reader,
                Err(error) => tracing::debug!(%error, "the feed of the queue cannot be read yet"),
            }
            pause = (pause * 2).min(AFTER_FAILURES);
        };
        bells.ring_all();
    }
}

/// The number of an entry.
fn number(entry: &Value) -> Option<u64> {
    let Value::Array(parts) = entry else { return None };
    text(parts.first()?)?.split('-').next()?.parse().ok()
}

/// The entries of the one stream that was read, with their fields.
fn entries(read: Value) -> Vec<(u64, Vec<String>)> {
    let streams = Reply::array(read);
    let Some(Value::Array(stream)) = streams.into_iter().next() else { return Vec::new() };
    let Some(Value::Array(entries)) = stream.into_iter().nth(1) else { return Vec::new() };
    let entry = |entry: Value| {
        let number = number(&entry)?;
        let fields = Reply::array(entry).into_iter().nth(1).map(Reply::array).unwrap_or_default();
        Some((number, fields.iter().filter_map(text).collect()))
    };
    entries.into_iter().filter_map(entry).collect()
}
