//! Who is woken when something happens to a job, or when there is work. Keeps nothing of what happened.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::JobId;

/// What a listener listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ear {
    /// All that is new of a job.
    News,
    /// That it is to end.
    Orders,
}

/// A bell for each job that somebody listens to, and one for work.
#[derive(Clone, Default)]
pub struct Bells(Arc<Inner>);

#[derive(Default)]
struct Inner {
    jobs: Mutex<HashMap<(JobId, Ear), Bell>>,
    work: Arc<Notify>,
}

#[derive(Default)]
struct Bell {
    notify: Arc<Notify>,
    listeners: usize,
}

impl Bells {
    /// Listens to a job from now on. Look at the job after this and before waiting, and nothing is missed.
    pub fn listen(&self, id: JobId) -> Listener {
        self.listen_with(id, Ear::News)
    }

    /// The same for orders only: for the worker, who makes the news.
    pub fn listen_for_orders(&self, id: JobId) -> Listener {
        self.listen_with(id, Ear::Orders)
    }

    fn listen_with(&self, id: JobId, ear: Ear) -> Listener {
        let mut jobs = self.jobs();
        let bell = jobs.entry((id, ear)).or_default();
        bell.listeners += 1;
        let notify = bell.notify.clone();
        drop(jobs);
        Listener { bells: self.clone(), key: (id, ear), heard: enabled(&notify), notify }
    }

    /// Completes when there may be work: at once if there was some since the last call.
    pub async fn work(&self) {
        self.0.work.notified().await;
    }

    /// Something has happened to a job.
    pub fn ring(&self, id: JobId) {
        self.ring_at(id, Ear::News);
    }

    /// A running job is to end.
    pub fn ring_for_orders(&self, id: JobId) {
        self.ring_at(id, Ear::Orders);
    }

    fn ring_at(&self, id: JobId, ear: Ear) {
        let notify = self.jobs().get(&(id, ear)).map(|bell| bell.notify.clone());
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }

    /// There is work for one worker.
    pub fn ring_for_work(&self) {
        self.0.work.notify_one();
    }

    /// Something may have been missed: all look again.
    pub fn ring_all(&self) {
        let all: Vec<_> = self.jobs().values().map(|bell| bell.notify.clone()).collect();
        for notify in all {
            notify.notify_waiters();
        }
        self.0.work.notify_waiters();
        self.ring_for_work();
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<(JobId, Ear), Bell>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bells").field("listened", &self.jobs().len()).finish_non_exhaustive()
    }
}

/// Hears of one job until it is dropped.
pub struct Listener {
    bells: Bells,
    key: (JobId, Ear),
    notify: Arc<Notify>,
    heard: std::pin::Pin<Box<OwnedNotified>>,
}

impl Listener {
    /// Completes when something has happened since the last call, or since it was made. May be dropped and called again:
    /// nothing is missed.
    pub async fn heard(&mut self) {
        self.heard.as_mut().await;
        self.heard = enabled(&self.notify);
    }
}

/// A notification that counts from now on, not from the first time that it is waited for.
fn enabled(notify: &Arc<Notify>) -> std::pin::Pin<Box<OwnedNotified>> {
    let mut heard = Box::pin(notify.clone().notified_owned());
    heard.as_mut().enable();
    heard
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut jobs = self.bells.jobs();
        if let Some(bell) = jobs.get_mut(&self.key) {
            bell.listeners -= 1;
            if bell.listeners == 0 {
                jobs.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("job", &self.key.0).finish_non_exhaustive()
    }
}
