//! The blocking limit: `curl_easy_perform` on a handle that is kept, one for each thread. Waits for nothing else.

use curl::easy::Easy2;
use marmot_bench::load::Load;

use super::raw::{Transfer, configure};
use crate::drive::{Outcome, Slice, in_threads};

pub fn start(_: &Load) -> Outcome<Slice> {
    let mut handles: Vec<Easy2<Transfer>> = Vec::new();
    Ok(Box::new(move |load| {
        handles.resize_with(load.lanes, || Easy2::new(Transfer::default()));
        in_threads(load, handles.iter_mut().map(|easy| || lane(easy, load)))
    }))
}

fn lane(easy: &mut Easy2<Transfer>, load: &Load) -> Outcome {
    configure(easy, load, None)?;
    for _ in 0..load.requests / load.lanes {
        easy.get_mut().again();
        easy.perform()?;
        load.settle(easy.get_ref().length())?;
    }
    Ok(())
}
