//! A loop that waits in `curl_multi_poll`. No callbacks for sockets or timers.

use std::time::Duration;

use curl::multi::Multi;

use super::raw::Turn;
use crate::drive::Outcome;

pub struct Poll(Multi);

impl Turn for Poll {
    fn fresh() -> Outcome<Self> {
        Ok(Self(Multi::new()))
    }

    fn multi(&self) -> &Multi {
        &self.0
    }

    fn perform(&mut self) -> Outcome {
        self.0.perform()?;
        Ok(())
    }

    fn wait(&mut self) -> Outcome {
        self.0.poll(&mut [], Duration::from_secs(10))?;
        Ok(())
    }
}
