//! Fakes of Stripe that others have made: `localstripe` (Python) and `stripe-stateful-mock` (Node). Started on loopback
//! only, which their own commands would not do. `check.sh` installs them and says where by environment variables.

use std::io::{self, Write};
use std::path::Path;

use super::program::Program;

/// localstripe without the file in which it keeps its store, on an address of our choice.
const LOCALSTRIPE: &str = "
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host='127.0.0.1', port=int(sys.argv[1]), print=None)
";

const STATEFUL: &str = "
const { createExpressApp } = require(process.argv[1]);
createExpressApp().listen(Number(process.argv[2]), '127.0.0.1');
";

/// One of them, running.
pub struct StandIn(Program);

impl StandIn {
    /// localstripe, or nothing where it is not installed: `MARMOT_LOCALSTRIPE` is the Python that has it.
    pub fn localstripe() -> Option<Self> {
        let python = installed("MARMOT_LOCALSTRIPE")?;
        Some(Self::start(&python, |port| vec!["-c".into(), LOCALSTRIPE.into(), port]))
    }

    /// stripe-stateful-mock, or nothing where it is not installed: `MARMOT_STRIPE_MOCK` is the folder of its package.
    pub fn stateful() -> Option<Self> {
        let package = installed("MARMOT_STRIPE_MOCK")?;
        Some(Self::start("node", |port| vec!["-e".into(), STATEFUL.into(), package.clone(), port]))
    }

    fn start(program: &str, arguments: impl Fn(String) -> Vec<String>) -> Self {
        let arguments = |_: &Path, ports: &[u16]| Ok(arguments(ports[0].to_string()));
        Self(Program::start(program, "see check.sh", 1, arguments, |_| Some(true)))
    }

    /// `http://127.0.0.1:PORT`
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.ports[0])
    }
}

/// Where the variable says that a program is, which `check.sh` installs; says that it is not, otherwise.
pub fn installed(variable: &str) -> Option<String> {
    let place = std::env::var(variable).ok().filter(|place| !place.is_empty());
    if place.is_none() {
        // Not by `println!`, which a test that passes does not show.
        let _ = writeln!(io::stderr(), "skipped: {variable} is not set; check.sh sets it");
    }
    place
}
