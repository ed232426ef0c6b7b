//! A WebSocket session: reads requests, lets them be answered, sends what comes, within bounds. Knows no method.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::methods::{Caller, Service};
use super::outbox::{Gone, Outbox, Parcel};
use super::state::{self, Action, Happening, Reason, Session};
use super::{code, protocol, subscription};
use crate::queue::JobId;

/// What the calls of a session share.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) outbox: Outbox,
    subscriptions: Arc<Subscriptions>,
}

#[derive(Default)]
struct Subscriptions {
    last: AtomicU64,
    running: Mutex<HashMap<u64, AbortHandle>>,
}

impl Line {
    /// Tells of a job from an event on, until its end. Returns the number of the subscription, or `None` where there are
    /// too many.
    pub(super) async fn subscribe(&self, service: &Arc<Service>, caller: &Caller, id: JobId, from: u64) -> Option<u64> {
        let mut running = self.subscriptions.running.lock().await;
        running.retain(|_, task| !task.is_finished());
        if running.len() >= service.options.subscriptions_per_session {
            return None;
        }
        let number = self.subscriptions.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (queue, tenant, outbox) = (service.queue.clone(), caller.tenant.clone(), self.outbox.clone());
        let task = tokio::spawn(async move {
            // Where the client or the job is gone, there is nothing left to tell.
            let _ = subscription::tell(&*queue, &tenant, id, from, number, &outbox).await;
        });
        running.insert(number, task.abort_handle());
        Some(number)
    }

    /// Ends a subscription. Returns whether there was one.
    pub(super) async fn unsubscribe(&self, number: u64) -> bool {
        let task = self.subscriptions.running.lock().await.remove(&number);
        task.is_some_and(|task| {
            let runs = !task.is_finished();
            task.abort();
            runs
        })
    }
}

/// Serves a client until one of both has enough.
pub(super) async fn serve(
    socket: WebSocket,
    service: Arc<Service>,
    caller: Caller,
    mut stopping: watch::Receiver<bool>,
) {
    let options = &service.options;
    let mut session = Session::new(options.silence, options.patience, std::time::Instant::now());
    session.step(Happening::Opened, std::time::Instant::now());
    let (sink, stream) = socket.split();
    let (outbox, parcels) = Outbox::new(options.outgoing);
    let line = Line { outbox, subscriptions: Arc::default() };
    let (close, closing) = watch::channel(None);
    let mut writer = tokio::spawn(write(sink, parcels, closing, options.patience));
    let mut reader = Reader { stream, service: service.clone(), caller, line: line.clone(), calls: JoinSet::new() };
    let mut reason = None;
    while !session.is_closed() {
        let next = session.next().map_or_else(Instant::now, Instant::from_std);
        let happening = tokio::select! {
            // What the state machine says about time comes first: a client that sends all the time is no exception.
            biased;
            () = sleep_until(next) => Happening::Time,
            _ = &mut writer => Happening::Gone,
            Ok(_) = stopping.wait_for(|stopping| *stopping), if session.is_open() && reason.is_none() => {
                // Calls under way have their answers first.
                reason = Some(state::GOING_AWAY);
                Happening::Heard
            }
            happening = reader.next(session.is_open(), reason.as_ref()) => happening,
        };
        match session.step(happening, std::time::Instant::now()) {
            Action::Nothing => {}
            Action::Ping => drop(close.send(Some(Order::Ping))),
            Action::SendClose(reason) => drop(close.send(Some(Order::Close(reason)))),
            Action::Drop => break,
        }
    }
    writer.abort();
    for (_, task) in line.subscriptions.running.lock().await.drain() {
        task.abort();
    }
}

/// What the writer is told to send beside messages.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Ping,
    Close(Reason),
}

struct Reader {
    stream: SplitStream<WebSocket>,
    service: Arc<Service>,
    caller: Caller,
    line: Line,
    calls: JoinSet<()>,
}

impl Reader {
    /// The next thing that the client does. `listening`: requests are answered, unless there is a reason to end: then the
    /// answers to those under way are waited for.
    async fn next(&mut self, listening: bool, ending: Option<&Reason>) -> Happening {
        if let Some(reason) = ending.filter(|_| listening) {
            let Self { calls, stream, .. } = self;
            return tokio::select! {
                biased;
                () = async { while calls.join_next().await.is_some() {} } => Happening::Close(reason.clone()),
                message = stream.next() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Happening::Gone,
                    Some(Ok(_)) => Happening::Heard,
                },
            };
        }
        // A client that does not read its answers is not heard either.
        self.line.outbox.has_room().await;
        while self.calls.len() >= 2 * self.service.options.calls_per_session {
            self.calls.join_next().await;
        }
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) if listening => self.take(text.as_bytes().to_vec()),
            Some(Ok(Message::Binary(_))) if listening => Happening::Close(state::UNSUPPORTED),
            Some(Ok(Message::Close(_))) | None => Happening::Gone,
            Some(Ok(_)) => Happening::Heard,
            Some(Err(error)) => {
                let text = error.to_string().to_lowercase();
                let too_big = text.contains("too long") || text.contains("too big") || text.contains("space limit");
                if too_big { Happening::Close(state::TOO_BIG) } else { Happening::Gone }
            }
        }
    }

    /// Lets a message be answered, beside others.
    fn take(&mut self, text: Vec<u8>) -> Happening {
        while self.calls.try_join_next().is_some() {}
        let full = self.calls.len() >= self.service.options.calls_per_session;
        let (service, caller, line) = (self.service.clone(), self.caller.clone(), self.line.clone());
        self.calls.spawn(async move {
            let answer = if full {
                let most = service.options.calls_per_session;
                let error = code::limit(format!("{most} calls of this connection wait for their answers"), None);
                Some(protocol::refusal(&text, error))
            } else {
                service.answer(&caller, Some(&line), &text).await
            };
            if let Some(answer) = answer {
                // A client that is gone needs no answer.
                let _: Result<(), Gone> = line.outbox.send(answer).await;
            }
        });
        Happening::Heard
    }
}

/// Sends what is in the outbox. Ends when a write takes too long, or after a close.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut parcels: tokio::sync::mpsc::UnboundedReceiver<Parcel>,
    mut orders: watch::Receiver<Option<Order>>,
    patience: std::time::Duration,
) {
    loop {
        let message = tokio::select! {
            biased;
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
                let order = orders.borrow_and_update().clone();
                match order {
                    Some(Order::Ping) => (Message::Ping(Default::default()), None),
                    Some(Order::Close(Reason { code, text })) => {
                        // What was answered before comes before it.
                        while let Ok(parcel) = parcels.try_recv() {
                            let sent = timeout(patience, sink.send(Message::Text(parcel.text.into()))).await;
                            if !matches!(sent, Ok(Ok(()))) {
                                return;
                            }
                        }
                        let frame = CloseFrame { code, reason: text.into() };
                        let _ = timeout(patience, sink.send(Message::Close(Some(frame)))).await;
                        // Stays until the session ends, so that the peer's answer is awaited.
                        return std::future::pending().await;
                    }
                    None => continue,
                }
            }
            parcel = parcels.recv() => match parcel {
                Some(Parcel { text, room }) => (Message::Text(text.into()), Some(room)),
                None => return,
            },
        };
        let (message, room) = message;
        if !matches!(timeout(patience, sink.send(message)).await, Ok(Ok(()))) {
            tracing::debug!(reason = state::TOO_SLOW.text, "a session ends");
            return;
        }
        drop(room);
    }
}

/// How many sessions a tenant has.
#[derive(Debug, Default)]
pub(super) struct Census(std::sync::Mutex<HashMap<String, Arc<Semaphore>>>);

impl Census {
    /// A place for a session, until it is dropped.
    pub(super) fn enter(&self, tenant: &str, most: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let mut tenants = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let places = tenants.entry(tenant.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(most)));
        places.clone().try_acquire_owned().ok()
    }
}
