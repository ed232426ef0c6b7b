//! What happens to a job, told to a client as it happens. A client that reads slowly is told less, and that it missed some.

use serde_json::json;

use super::outbox::{Gone, Outbox};
use crate::queue::{JobId, Queue, QueueError};

/// The most events that are taken at once.
const AT_ONCE: usize = 64;

/// Why nothing more is told.
pub(super) enum Ended {
    Gone,
    Queue,
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<QueueError> for Ended {
    fn from(_: QueueError) -> Self {
        Self::Queue
    }
}

/// Tells of a job from an event on, until its end. Events are taken from the queue when there is room for them, so nothing
/// piles up here.
pub(super) async fn tell(
    queue: &dyn Queue,
    tenant: &str,
    id: JobId,
    from: u64,
    subscription: u64,
    outbox: &Outbox,
) -> Result<(), Ended> {
    let mut listener = queue.bells().listen(id);
    let mut next = from.max(1);
    loop {
        outbox.has_room().await;
        let events = queue.events(tenant, id, next, AT_ONCE).await?;
        if events.missed > 0 {
            let lagged = json!({
                "subscription": subscription, "job_id": id, "kind": "lagged", "missed": events.missed,
                "from_seq": next,
            });
            outbox.send(notification(&lagged)).await?;
            next += events.missed;
        }
        let none = events.events.is_empty();
        for event in events.events {
            next = event.seq + 1;
            let params = json!({
                "subscription": subscription, "job_id": id, "seq": event.seq, "kind": event.kind, "at": event.at,
                "data": event.data,
            });
            outbox.send(notification(&params)).await?;
        }
        if events.ended {
            return Ok(());
        }
        if none {
            tokio::select! {
                () = listener.heard() => {}
                () = outbox.closed() => return Err(Ended::Gone),
            }
        }
    }
}

fn notification(params: &serde_json::Value) -> String {
    json!({ "jsonrpc": "2.0", "method": "job.event", "params": params }).to_string()
}
