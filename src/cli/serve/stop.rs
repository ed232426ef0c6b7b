//! Ctrl-C and SIGTERM: the first asks to stop, the second ends the process.

use tokio::sync::watch;

use super::super::host::{INTERRUPTED, complain};

/// Hears that the process is asked to stop.
#[derive(Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Completes when it is.
    pub(super) async fn stopped(mut self) {
        // Nobody can ask any more where the sender is gone.
        if self.0.wait_for(|stop| *stop).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Listens to the signals from now on.
pub(super) fn signals() -> std::io::Result<Stop> {
    let (sender, receiver) = watch::channel(false);
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        for asked in 0.. {
            #[cfg(unix)]
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            #[cfg(not(unix))]
            let _ = tokio::signal::ctrl_c().await;
            if asked > 0 {
                complain("stopped at once; what ran is delivered again when its lease ends");
                std::process::exit(i32::from(INTERRUPTED));
            }
            tracing::info!("stopping: running jobs are waited for; once more ends the process at once");
            let _ = sender.send(true);
        }
    });
    Ok(Stop(receiver))
}
