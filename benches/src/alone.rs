//! One peer in a process of its own, so that memory and descriptors are its own. Keeps no statistics.

use std::process::{Command, Stdio};
use std::sync::Arc;

use marmot_bench::load::{Load, Tally};
use marmot_bench::record::Sample;

use crate::drive::Outcome;
use crate::measure::{guarded, measure, measure_waiting, memory, read_program};
use crate::peers::Peer;

/// What the child is called with.
pub const FLAG: &str = "--one";

/// Descriptors that a client may need beside those of its connections.
const SPARE: u64 = 200;

/// Runs the child: gets the peer warm and measures one slice.
pub fn measure_in_child(peer: &Peer, load: &Load) -> Outcome<Sample> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([FLAG, peer.name, &serde_json::to_string(load)?]).stdin(Stdio::null());
    let output = command.stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout)?);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.trim().trim_start_matches("error: ").into())
}

/// The child's side: prints the sample.
pub fn run(peer: &Peer, load: &str) -> Outcome {
    let mut load: Load = serde_json::from_str(load)?;
    let allowed = rlimit::increase_nofile_limit(u64::MAX)?;
    if allowed < load.lanes as u64 + SPARE {
        return Err(format!("{} at once need more than the {allowed} files that may be open", load.lanes).into());
    }
    load.body(); // written now, so that it does not count
    read_program()?;
    let before = memory("VmRSS:")?;
    let sample = guarded(peer.name, || {
        let mut slice = peer.warm(&load)?;
        if load.hold == 0 {
            return measure(|| slice(&load));
        }
        let tally = Arc::new(Tally::default());
        load.tally = Some(Arc::clone(&tally));
        measure_waiting(&tally, || slice(&load))
    })?;
    let sample = Sample { peak: Some(memory("VmHWM:")?.saturating_sub(before)), ..sample };
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}
