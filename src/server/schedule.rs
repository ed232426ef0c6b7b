//! Scripts at times, as cron has them: each server looks each second what is due. The queue's idempotency keys make sure that
//! one of them submits a job, however many look.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::CronParser;
use jsonrpsee_types::ErrorObjectOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::code;
use super::methods::Service;
use crate::queue::{Cause, Filter, Origin, Queue, QueueError, Record, RecordKind, State, check_name};

/// How many of the next times are shown.
const SHOWN: usize = 3;
/// The longest time that was missed, because every server was down, and is made up for by one job.
const MISSED: Duration = Duration::from_secs(60);

/// What happens where the job of the time before has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Overlap {
    /// This time is left out.
    #[default]
    Skip,
    /// They run side by side, or one after another.
    Queue,
    /// That one is cancelled.
    Replace,
}

/// A schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    name: String,
    /// Five fields, or six with seconds in front.
    cron: String,
    /// A name of the IANA database. Default: UTC.
    #[serde(default = "utc")]
    time_zone: String,
    /// The text of the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    /// Or its name in the library, with or without a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    library: Option<String>,
    #[serde(default)]
    args: Value,
    #[serde(default)]
    overlap: Overlap,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn utc() -> String {
    "UTC".into()
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

type Answer = Result<Value, ErrorObjectOwned>;

fn failed(error: QueueError) -> ErrorObjectOwned {
    code::of_queue(&error)
}

impl Schedule {
    /// Its times, and where they are.
    fn times(&self) -> Result<(Cron, Tz), String> {
        let cron =
            CronParser::builder().seconds(croner::parser::Seconds::Optional).build().parse(&self.cron).map_err(
                |error| format!("`cron`: {error}; five fields, such as `*/5 9-17 * * MON-FRI`, are expected"),
            )?;
        let zone = self.time_zone.parse().map_err(|_| {
            format!("`time_zone`: `{}` is no name of the IANA database, such as `Europe/Berlin`", self.time_zone)
        })?;
        Ok((cron, zone))
    }

    /// The times behind `after`, until `until` where that is given.
    fn next(&self, after: DateTime<Utc>, until: Option<DateTime<Utc>>, most: usize) -> Vec<DateTime<Utc>> {
        let Ok((cron, zone)) = self.times() else { return Vec::new() };
        let mut times = Vec::new();
        let mut last = after.with_timezone(&zone);
        while times.len() < most
            && let Ok(next) = cron.find_next_occurrence(&last, false)
            && until.is_none_or(|until| next <= until)
        {
            times.push(next.with_timezone(&Utc));
            last = next;
        }
        times
    }

    fn shown(&self, now: DateTime<Utc>) -> Value {
        let next: Vec<String> = if self.enabled {
            let zone = self.times().map_or(Tz::UTC, |(_, zone)| zone);
            self.next(now, None, SHOWN).iter().map(|time| time.with_timezone(&zone).to_rfc3339()).collect()
        } else {
            Vec::new()
        };
        let mut shown = json!(self);
        shown["next"] = next.into();
        shown
    }
}

pub(super) async fn put(service: &Service, tenant: &str, schedule: Schedule) -> Answer {
    check_name("a schedule", &schedule.name).map_err(failed)?;
    schedule.times().map_err(code::params)?;
    // What could never be submitted is refused now, not each time.
    submission(service, tenant, &schedule, String::new()).await?;
    let body = serde_json::to_string(&schedule).map_err(|error| code::params(error.to_string()))?;
    let record = Record { kind: RecordKind::Schedule, tenant: tenant.to_owned(), name: schedule.name.clone(), body };
    service.queue.put(record).await.map_err(failed)?;
    Ok(schedule.shown(Utc::now()))
}

pub(super) async fn get(queue: &dyn Queue, tenant: &str, named: Named) -> Answer {
    let record = queue.record(RecordKind::Schedule, tenant, &named.name).await.map_err(failed)?;
    let schedule: Schedule =
        serde_json::from_str(&record.body).map_err(|error| code::error(code::BACKEND, error.to_string(), None))?;
    Ok(schedule.shown(Utc::now()))
}

pub(super) async fn list(queue: &dyn Queue, tenant: &str) -> Answer {
    let records = queue.records(RecordKind::Schedule, Some(tenant)).await.map_err(failed)?;
    let now = Utc::now();
    let read = |record: Record| serde_json::from_str::<Schedule>(&record.body).ok();
    Ok(records.into_iter().filter_map(read).map(|schedule| schedule.shown(now)).collect::<Vec<_>>().into())
}

pub(super) async fn remove(queue: &dyn Queue, tenant: &str, named: Named) -> Answer {
    let removed = queue.remove(RecordKind::Schedule, tenant, &named.name).await.map_err(failed)?;
    Ok(json!({ "removed": removed }))
}

async fn submission(
    service: &Service,
    tenant: &str,
    schedule: &Schedule,
    key: String,
) -> Result<crate::queue::NewJob, ErrorObjectOwned> {
    let script = (schedule.script.as_deref(), schedule.library.as_deref());
    let origin = Origin::Schedule(schedule.name.clone());
    service.own_job(tenant, script, schedule.args.clone(), schedule.timeout_ms, origin, key).await
}

/// Submits what is due, for as long as the server runs.
pub(super) async fn keep(service: Arc<Service>) {
    let mut since = Utc::now() - MISSED;
    loop {
        let now = Utc::now();
        match service.queue.records(RecordKind::Schedule, None).await {
            Ok(records) => {
                for record in records {
                    let Ok(schedule) = serde_json::from_str::<Schedule>(&record.body) else { continue };
                    if schedule.enabled
                        && let Err(error) = submit_due(&service, &record.tenant, &schedule, since, now).await
                    {
                        tracing::warn!(
                            tenant = record.tenant,
                            schedule = schedule.name,
                            error = error.message(),
                            "not submitted"
                        );
                    }
                }
                since = now;
            }
            // What was due meanwhile is looked at the next time.
            Err(error) => tracing::warn!(%error, "schedules cannot be read"),
        }
        let into = u64::from(Utc::now().timestamp_subsec_millis());
        tokio::time::sleep(Duration::from_millis(1_000_u64.saturating_sub(into).max(1))).await;
    }
}

async fn submit_due(
    service: &Service,
    tenant: &str,
    schedule: &Schedule,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), ErrorObjectOwned> {
    // After a pause the last of several times stands for all.
    let Some(due) = schedule.next(since, Some(now), 100).pop() else { return Ok(()) };
    let queue = &*service.queue;
    let key = format!("schedule:{}:{}", schedule.name, due.timestamp());
    if schedule.overlap != Overlap::Queue {
        let filter = Filter {
            states: vec![State::Delayed, State::Queued, State::Running],
            origin: Some(Origin::Schedule(schedule.name.clone())),
            ..Filter::default()
        };
        for before in queue.list(tenant, &filter).await.map_err(failed)?.jobs {
            match schedule.overlap {
                Overlap::Replace if before.created_at < millis(due) => {
                    queue.cancel(tenant, before.id, Cause::Cancelled).await.map_err(failed)?;
                }
                Overlap::Replace => {}
                _ => {
                    tracing::info!(tenant, schedule = schedule.name, running = %before.id, "left out");
                    return Ok(());
                }
            }
        }
    }
    let job = submission(service, tenant, schedule, key).await?;
    let submitted = queue.submit(job).await.map_err(failed)?;
    if !submitted.existed {
        tracing::info!(tenant, schedule = schedule.name, job_id = %submitted.id, "submitted");
    }
    Ok(())
}

fn millis(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        serde_json::from_value(json!({ "name": "a", "cron": cron, "time_zone": zone, "script": "1" })).unwrap()
    }

    fn times(cron: &str, zone: &str, after: &str, most: usize) -> Vec<String> {
        let after = DateTime::parse_from_rfc3339(after).unwrap().with_timezone(&Utc);
        schedule(cron, zone).next(after, None, most).iter().map(|time| time.to_rfc3339()).collect()
    }

    #[test]
    fn times_are_those_of_the_zone_also_where_clocks_change() {
        let berlin = times("30 9 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 2);
        assert_eq!(berlin, ["2026-03-28T08:30:00+00:00", "2026-03-29T07:30:00+00:00"]);
        assert_eq!(times("*/15 * * * * *", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-01T00:00:15+00:00"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_a_reason() {
        assert!(schedule("nonsense", "UTC").times().unwrap_err().contains("cron"));
        assert!(schedule("* * * * *", "Mars/Base").times().unwrap_err().contains("Europe/Berlin"));
        assert!(schedule("0 0 30 2 *", "UTC").next(Utc::now(), None, 1).is_empty());
    }
}
