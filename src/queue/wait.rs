//! Waiting for the end of a job, on the bells of its queue.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Job, JobId, Queue, QueueError};

/// Looks again without being woken after this long: a bell of another machine can be lost with its connection.
const AGAIN: Duration = Duration::from_secs(30);

/// Waits until a job has ended, but no longer than this. Returns the job as it is then.
///
/// # Errors
///
/// Those of [`Queue::job`].
pub async fn wait_for_end(queue: &dyn Queue, tenant: &str, id: JobId, most: Duration) -> Result<Job, QueueError> {
    let far = Duration::from_secs(365 * 24 * 60 * 60);
    let deadline = Instant::now() + most.min(far);
    // Listened to before the first look, so that nothing happens unheard between them.
    let mut listener = queue.bells().listen(id);
    loop {
        if queue.state(tenant, id).await?.has_ended() || Instant::now() >= deadline {
            return queue.job(tenant, id).await;
        }
        let _ = timeout_at(deadline.min(Instant::now() + AGAIN), listener.heard()).await;
    }
}
