//! What waits to be sent to a client: bounded in bytes. Sends nothing itself.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// A message, and the room that it takes until it is dropped.
pub(super) struct Parcel {
    pub(super) text: String,
    pub(super) room: OwnedSemaphorePermit,
}

/// The way to a client.
#[derive(Clone)]
pub(super) struct Outbox {
    room: Arc<Semaphore>,
    size: u32,
    /// What may wait for room.
    backlog: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<Parcel>,
}

/// The client is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Outbox {
    /// An outbox of so many bytes, with so many of answers that wait for room in it, and what comes out of it.
    pub(super) fn new(size: usize, backlog: usize) -> (Self, mpsc::UnboundedReceiver<Parcel>) {
        let size = u32::try_from(size).unwrap_or(u32::MAX).max(1);
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(size as usize));
        let backlog = Arc::new(Semaphore::new(backlog.min(Semaphore::MAX_PERMITS)));
        (Self { room, size, backlog, sender }, receiver)
    }

    /// Puts a message in as soon as there is room. One that is larger than the whole outbox takes all of it.
    pub(super) async fn send(&self, text: String) -> Result<(), Gone> {
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX).clamp(1, self.size);
        let room = tokio::select! {
            room = self.room.clone().acquire_many_owned(bytes) => room.map_err(|_| Gone)?,
            () = self.sender.closed() => return Err(Gone),
        };
        self.sender.send(Parcel { text, room }).map_err(|_| Gone)
    }

    /// Puts an answer in as soon as there is room. Where too many wait for that already, a short one takes its place.
    pub(super) async fn answer(&self, answer: String, short: impl FnOnce() -> String) -> Result<(), Gone> {
        let bytes = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        let waits = self.backlog.try_acquire_many(bytes);
        if waits.is_err() {
            drop(answer);
            return self.send(short()).await;
        }
        self.send(answer).await
    }

    /// Completes when the client is gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Completes when there is room for another message.
    pub(super) async fn has_room(&self) {
        tokio::select! {
            _ = self.room.acquire() => {}
            () = self.sender.closed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn answers_that_wait_for_room_are_bounded_too() {
        let (outbox, mut parcels) = Outbox::new(100, 250);
        outbox.answer("x".repeat(100), || unreachable!()).await.unwrap();
        let answer = |text: &str| {
            let (outbox, text) = (outbox.clone(), text.repeat(100));
            tokio::spawn(async move { outbox.answer(text, || "short".into()).await })
        };
        let waiting = ["a", "b", "c"].map(answer);
        // All three wait before there is room.
        tokio::task::yield_now().await;
        let mut texts = Vec::new();
        for _ in 0..4 {
            let parcel = timeout(Duration::from_secs(5), parcels.recv()).await.unwrap().unwrap();
            texts.push(parcel.text.chars().take(5).collect::<String>());
        }
        assert_eq!(texts, ["xxxxx", "aaaaa", "bbbbb", "short"]);
        for task in waiting {
            task.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let (outbox, mut parcels) = Outbox::new(100, 100);
        outbox.send("x".repeat(60)).await.unwrap();
        let short = Duration::from_millis(50);
        assert!(timeout(short, outbox.send("y".repeat(60))).await.is_err(), "there is no room");
        drop(parcels.recv().await.unwrap());
        outbox.send("y".repeat(60)).await.unwrap();
        assert_eq!(parcels.recv().await.unwrap().text.len(), 60);
        outbox.send("z".repeat(1_000)).await.unwrap();
        assert!(timeout(short, outbox.has_room()).await.is_err(), "a large one takes all");
        drop(parcels);
        assert!(outbox.send("too late".into()).await.is_err());
    }
}
