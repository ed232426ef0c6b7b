//! A WebSocket session: reads requests, lets them be answered, sends what comes, within bounds. Knows no method.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::methods::{Caller, Service};
use super::outbox::{Gone, Outbox, Parcel};
use super::state::{self, Action, Happening, Reason, Session};
use super::{code, protocol, subscription};
use crate::queue::JobId;

/// How long the peer has to take and to answer a close.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

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
    let mut session = Session::new(options.silence, options.patience.min(CLOSING), std::time::Instant::now());
    session.step(Happening::Opened, std::time::Instant::now());
    let (sink, stream) = socket.split();
    let (outbox, parcels) = Outbox::new(options.outgoing, options.backlog());
    let line = Line { outbox, subscriptions: Arc::default() };
    let (orders, ordered) = watch::channel(None);
    let mut writer = tokio::spawn(write(sink, parcels, ordered, options.patience));
    let mut writes = true;
    let mut reader =
        Reader { stream, service: service.clone(), caller, line: line.clone(), calls: FuturesUnordered::new() };
    // Until when calls under way are waited for, once the server stops.
    let mut ending = None;
    while !session.is_closed() {
        let next = session.next().map_or_else(Instant::now, Instant::from_std);
        let late = ending.filter(|_| session.is_open());
        let happening = tokio::select! {
            // What the state machine says about time comes first: a client that sends all the time is no exception.
            biased;
            () = sleep_until(next) => Happening::Time,
            () = sleep_until(late.unwrap_or(next)), if late.is_some() => Happening::Close(state::GOING_AWAY),
            said = &mut writer, if writes => {
                writes = false;
                // Having said that it ends, it stays for the peer's answer.
                if matches!(said, Ok(Said::Close)) { Happening::Heard } else { Happening::Gone }
            }
            Ok(_) = stopping.wait_for(|stopping| *stopping), if session.is_open() && ending.is_none() => {
                ending = Some(Instant::now() + options.drain);
                Happening::Heard
            }
            happening = reader.next(session.is_open(), ending.is_some()) => happening,
        };
        match session.step(happening, std::time::Instant::now()) {
            Action::Nothing => {}
            Action::Ping => drop(orders.send(Some(Order::Ping))),
            Action::SendClose(reason) => drop(orders.send(Some(Order::Close(reason)))),
            Action::Drop => break,
        }
    }
    // One that has sent what cannot be read is told why, though nothing more is heard of it.
    let closes = matches!(&*orders.borrow(), Some(Order::Close(_)));
    if writes && closes {
        let _ = timeout(CLOSING, &mut writer).await;
    }
    writer.abort();
    let Reader { stream, mut calls, .. } = reader;
    drop(stream);
    // What was asked for just before the end is done all the same.
    let _ = timeout(CLOSING, async { while calls.next().await.is_some() {} }).await;
    // Calls that go on could open subscriptions.
    drop(calls);
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
    /// Within the task of the session, so that a client with many calls gets no more turns than one with a single one.
    calls: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Reader {
    /// The next thing that the client does. `listening`: requests are answered, unless the server is `ending`: then the
    /// answers to those under way are waited for.
    async fn next(&mut self, listening: bool, ending: bool) -> Happening {
        if listening && ending {
            let Self { calls, stream, .. } = self;
            return tokio::select! {
                biased;
                () = async { while calls.next().await.is_some() {} } => Happening::Close(state::GOING_AWAY),
                message = stream.next() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Happening::Gone,
                    Some(Ok(_)) => Happening::Heard,
                },
            };
        }
        let most = 2 * self.service.options.calls_per_session;
        let message = loop {
            let Self { stream, line, calls, .. } = self;
            let waiting = calls.len();
            let message = async {
                // A client that does not read its answers is not heard either.
                if listening {
                    line.outbox.has_room().await;
                }
                stream.next().await
            };
            tokio::select! {
                Some(()) = calls.next() => {}
                message = message, if !listening || waiting < most => break message,
            }
        };
        match message {
            Some(Ok(Message::Text(text))) if listening => self.take(text),
            Some(Ok(Message::Binary(_))) if listening => Happening::Close(state::UNSUPPORTED),
            Some(Ok(Message::Close(_))) => {
                // The answer is written by the attempt to read on.
                let _ = timeout(CLOSING, self.stream.next()).await;
                Happening::Gone
            }
            None => Happening::Gone,
            Some(Ok(_)) => Happening::Heard,
            Some(Err(error)) => match error.into_inner().downcast_ref::<tungstenite::Error>() {
                Some(tungstenite::Error::Capacity(_)) => Happening::Close(state::TOO_BIG),
                Some(tungstenite::Error::Utf8(_)) => Happening::Close(state::NO_TEXT),
                // What just ends has broken a rule as well, but there is nobody to be told.
                Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Happening::Gone,
                Some(tungstenite::Error::Protocol(_)) => Happening::Close(state::PROTOCOL),
                _ => Happening::Gone,
            },
        }
    }

    /// Lets a message be answered, beside others.
    fn take(&mut self, text: Utf8Bytes) -> Happening {
        let full = self.calls.len() >= self.service.options.calls_per_session;
        let (service, caller, line) = (self.service.clone(), self.caller.clone(), self.line.clone());
        let call = async move {
            let refuse = |error| protocol::refusal(text.as_bytes(), error);
            let answer = if full {
                let most = service.options.calls_per_session;
                Some(refuse(code::limit(format!("{most} calls of this connection wait for their answers"), None)))
            } else {
                service.answer(&caller, Some(&line), text.as_bytes()).await
            };
            if let Some(answer) = answer {
                let short = || refuse(code::limit("too many answers wait to be read", None));
                // A client that is gone needs no answer.
                let _: Result<(), Gone> = line.outbox.answer(answer, short).await;
            }
        };
        self.calls.push(call.boxed());
        Happening::Heard
    }
}

/// What a writer has said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// That the session ends.
    Close,
    /// Nothing: the client is gone, or does not read.
    Nothing,
}

/// Sends what is in the outbox. Ends when a write takes too long, or after a close.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut parcels: tokio::sync::mpsc::UnboundedReceiver<Parcel>,
    mut orders: watch::Receiver<Option<Order>>,
    patience: Duration,
) -> Said {
    loop {
        let message = tokio::select! {
            biased;
            changed = orders.changed() => {
                if changed.is_err() {
                    return Said::Nothing;
                }
                let order = orders.borrow_and_update().clone();
                match order {
                    Some(Order::Ping) => (Message::Ping(Default::default()), None),
                    Some(Order::Close(Reason { code, text })) => {
                        // What was answered before comes before it.
                        while let Ok(parcel) = parcels.try_recv() {
                            let sent = timeout(patience, sink.send(Message::Text(parcel.text.into()))).await;
                            if !matches!(sent, Ok(Ok(()))) {
                                return Said::Nothing;
                            }
                        }
                        let frame = CloseFrame { code, reason: text.into() };
                        let sent = timeout(patience, sink.send(Message::Close(Some(frame)))).await;
                        return if matches!(sent, Ok(Ok(()))) { Said::Close } else { Said::Nothing };
                    }
                    None => continue,
                }
            }
            parcel = parcels.recv() => match parcel {
                Some(Parcel { text, room }) => (Message::Text(text.into()), Some(room)),
                None => return Said::Nothing,
            },
        };
        let (message, room) = message;
        if !matches!(timeout(patience, sink.send(message)).await, Ok(Ok(()))) {
            tracing::debug!(reason = state::TOO_SLOW.text, "a session ends");
            return Said::Nothing;
        }
        drop(room);
    }
}

/// How many sessions each tenant has.
#[derive(Clone, Debug, Default)]
pub(super) struct Census(Arc<std::sync::Mutex<HashMap<String, usize>>>);

/// A place for a session, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    census: Census,
    tenant: String,
}

impl Census {
    /// A place, unless the tenant has as many as it may.
    pub(super) fn enter(&self, tenant: &str, most: usize) -> Option<Place> {
        let mut tenants = self.tenants();
        let sessions = tenants.entry(tenant.to_owned()).or_default();
        (*sessions < most).then(|| {
            *sessions += 1;
            Place { census: self.clone(), tenant: tenant.to_owned() }
        })
    }

    fn tenants(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = self.census.tenants();
        if let Some(sessions) = tenants.get_mut(&self.tenant) {
            *sessions -= 1;
            if *sessions == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_places_and_those_who_have_left_are_forgotten() {
        let census = Census::default();
        let (one, two) = (census.enter("alice", 2).unwrap(), census.enter("alice", 2).unwrap());
        assert!(census.enter("alice", 2).is_none() && census.enter("bob", 1).is_some());
        drop(one);
        assert!(census.enter("alice", 2).is_some());
        drop(two);
        assert!(census.tenants().is_empty());
    }
}
