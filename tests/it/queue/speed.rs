//! How fast the queues are on this machine: figures to read, no promises. Run with `--ignored --nocapture`.

use std::time::{Duration, Instant};

use super::{Place, job, lease, value};

const JOBS: u32 = 2_000;

async fn measure(place: Place) {
    let change = |settings: &mut marmot::queue::Settings| settings.running_per_tenant = 1_000;
    let (queue, client) = (place.queue(change).await, place.queue(change).await);
    for tasks in [1, 16] {
        let begun = Instant::now();
        let submits = (0..tasks).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for _ in 0..JOBS / tasks {
                    queue.submit(job("anna", "print(1)")).await.unwrap();
                }
            })
        });
        for submit in submits.collect::<Vec<_>>() {
            submit.await.unwrap();
        }
        let submits = begun.elapsed();
        let begun = Instant::now();
        let workers = (0..tasks).map(|number| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let name = format!("w{number}");
                while let Some(lease) = queue.lease(&name).await.unwrap() {
                    queue.complete(&lease.ticket, value(1)).await.unwrap();
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
        let rate = |time: Duration| f64::from(JOBS / tasks * tasks) / time.as_secs_f64();
        println!(
            "{}, {tasks} at once: {:.0} submits/s, {:.0} leases and ends/s",
            place.name(),
            rate(submits),
            rate(begun.elapsed())
        );
    }
    let mut times = Vec::new();
    for _ in 0..200 {
        let id = client.submit(job("anna", "1")).await.unwrap().id;
        let lease = lease(&queue, "w1").await;
        let mut listener = client.bells().listen(id);
        let begun = Instant::now();
        let waiting = tokio::spawn(async move {
            listener.heard().await;
            Instant::now()
        });
        queue.complete(&lease.ticket, value(1)).await.unwrap();
        times.push(waiting.await.unwrap().duration_since(begun));
    }
    times.sort_unstable();
    println!("{}: from `complete` to its bell {:?} (median), {:?} (99 of 100)", place.name(), times[100], times[197]);
}

#[test]
#[ignore = "a measurement"]
fn the_queues_are_measured() {
    super::run(Place::memory(), measure);
    super::run(Place::journal(), measure);
    #[cfg(feature = "redis")]
    super::run(Place::redis(), measure);
    #[cfg(feature = "redis")]
    super::run(Place::cluster(), measure);
}
