//! The service and clients that others have made: Python's `websockets` and `jsonrpcclient`, and `rpc-websockets` for Node,
//! by the examples in `examples/clients` and directly. Where they are not installed, the tests say that they are skipped;
//! `check.sh` installs them.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::installed;
use crate::support::marmot::{LIMIT, Marmot, eventually, secret_file};

/// A client that runs the script that it is given.
struct Example {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

/// How to call an example.
#[derive(Clone)]
struct How {
    program: String,
    file: PathBuf,
}

fn python() -> Option<How> {
    let program = installed("MARMOT_CLIENTS_PYTHON")?;
    Some(How { program, file: Path::new("examples/clients/python/run_script.py").into() })
}

/// Node looks for packages beside the file, so there has to be a copy of it beside them.
fn javascript(folder: &Path) -> Option<How> {
    let modules = installed("MARMOT_CLIENTS_JAVASCRIPT")?;
    let file = folder.join("run_script.mjs");
    std::fs::copy("examples/clients/javascript/run_script.mjs", &file).unwrap();
    let _ = std::os::unix::fs::symlink(modules, folder.join("node_modules"));
    Some(How { program: "node".into(), file })
}

impl How {
    fn start(&self, marmot: &Marmot, script: &str, token: Option<&str>) -> Example {
        let mut command = Command::new(&self.program);
        command.arg(&self.file).env("MARMOT_URL", format!("ws://{}/ws/", marmot.address()));
        if let Some(token) = token {
            command.env("MARMOT_TOKEN", token);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program));
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Example { child, stdout }
    }
}

impl Example {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Its exit code, and the rest of what it says on stdout and stderr.
    fn end(mut self) -> (Option<i32>, String, String) {
        let status = eventually(LIMIT, || self.child.try_wait().unwrap()).unwrap_or_else(|| {
            let _ = self.child.kill();
            panic!("it does not end")
        });
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (status.code(), out, err)
    }

    fn interrupt(&self) {
        assert!(Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status().unwrap().success());
    }
}

/// What both examples do.
fn runs_scripts(how: &How) {
    let marmot = Marmot::start("");
    let mut example = how.start(&marmot, "print(\"one\"); sleep(1); print(\"two\"); #{ answer: 6 * 7 }", None);
    assert_eq!(example.line(), "one\n");
    let running = marmot.http().call("queue.stats", json!([])).unwrap()["running"].clone();
    assert_eq!(running, 1, "the first line has come while it runs");
    let (status, out, err) = example.end();
    assert_eq!((status, out.replace(' ', "").as_str()), (Some(0), "two\n=>{\"answer\":42}\n"), "{err}");

    let (status, out, err) = how.start(&marmot, "print(1);\nthrow \"no hay\"", None).end();
    assert_eq!((status, out.as_str()), (Some(1), "1\n"), "{err}");
    assert!(err.contains("no hay") && err.contains('2'), "with its place: {err}");

    let mut example = how.start(&marmot, "print(\"begun\"); sleep(25)", None);
    assert_eq!(example.line(), "begun\n");
    example.interrupt();
    let (status, out, err) = example.end();
    assert_eq!((status, out.as_str()), (Some(130), ""), "{err}");
    let jobs = marmot.http().call("job.list", json!({ "states": ["cancelled"] })).unwrap();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    marmot.stop();
}

/// With a token, and without.
fn has_a_token(how: &How) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    secret_file(&folder.path().join("tokens"), "alice alice-token-0123456789\n");
    let marmot = Marmot::start_in(folder, "token-file = \"FOLDER/tokens\"", &[]);
    let (status, out, err) = how.start(&marmot, "1 + 1", Some("alice-token-0123456789")).end();
    assert_eq!((status, out.as_str()), (Some(0), "=> 2\n"), "{err}");
    for token in [None, Some("wrong-token-0123456789")] {
        let (status, out, err) = how.start(&marmot, "1 + 1", token).end();
        assert_eq!((status, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("error: ") && err.contains("401"), "{err}");
    }
}

/// A server that goes away while a script runs.
fn is_told_of_the_end(how: &How) {
    let mut marmot = Marmot::start("drain = \"200ms\"");
    let mut example = how.start(&marmot, "print(1); sleep(20)", None);
    assert_eq!(example.line(), "1\n");
    marmot.signal("TERM");
    let (status, _, err) = example.end();
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("the server has ended the connection"), "{err}");
    assert!(marmot.ended(LIMIT).expect("it ends").success());
}

#[test]
fn the_python_example_runs_scripts() {
    let Some(how) = python() else { return };
    runs_scripts(&how);
    has_a_token(&how);
    is_told_of_the_end(&how);
}

#[test]
fn the_javascript_example_runs_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let Some(how) = javascript(folder.path()) else { return };
    runs_scripts(&how);
    has_a_token(&how);
    is_told_of_the_end(&how);
}

/// Says what it has seen as JSON, in one line.
const PYTHON: &str = r#"
import asyncio, json, sys
from jsonrpcclient import Error, Ok, notification_json, parse, parse_json, request, request_json, request_uuid
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

def plain(answer):
    if isinstance(answer, Ok):
        return answer.result
    return {"code": answer.code, "message": answer.message, "data": answer.data}

async def main(url):
    seen = {}
    async with connect(url, compression="deflate", max_size=None) as socket:
        async def ask(*arguments, **named):
            await socket.send(request_json(*arguments, **named))
            return plain(parse_json(await socket.recv()))
        seen["named"] = await ask("play", {"script": "ARGS.a + 1", "args": {"a": 1}})
        seen["positional"] = await ask("play", ("print(ARGS[0]); ARGS[1]", ["x", "ü€😀\u0000"]))
        seen["error"] = await ask("play", {"script": "let x = \n  nothing;"})
        seen["method"] = await ask("no.such")
        seen["params"] = await ask("play", {"scrip": "1"})
        await socket.send(notification_json("job.submit", ("1",)))
        seen["uuid"] = plain(parse(json.loads(await roundtrip(socket, json.dumps(request_uuid("whoami"))))))
        batch = json.dumps([request("play", ["1"]), request("play", ["throw 2"]), request("whoami")])
        seen["batch"] = [plain(one) for one in parse(json.loads(await roundtrip(socket, batch)))]
        # In parts, as the library sends what an iterator gives.
        await socket.send(iter(['{"jsonrpc": "2.0", ', '"id": 1, "method": ', '"whoami"}']))
        seen["parts"] = plain(parse_json(await socket.recv()))
        await asyncio.wait_for(await socket.ping(), 10)
        try:
            await socket.send("x" * 3_000_000)
            await socket.recv()
        except ConnectionClosed as closed:
            seen["large"] = closed.rcvd.code
    async with connect(url) as socket:
        await socket.send(b"binary")
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            seen["binary"] = closed.rcvd.code
    socket = await connect(url)
    await socket.close()
    seen["closed"] = socket.close_code
    print(json.dumps(seen))

async def roundtrip(socket, text):
    await socket.send(text)
    return await socket.recv()

asyncio.run(main(sys.argv[1]))
"#;

#[test]
fn python_s_libraries_and_the_service_understand_each_other() {
    let Some(how) = python() else { return };
    let marmot = Marmot::start("");
    let output =
        Command::new(how.program).args(["-c", PYTHON, &format!("ws://{}/ws/", marmot.address())]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {err}"));
    assert_eq!((&seen["named"]["value"], &seen["named"]["output"]), (&json!(2), &json!("")));
    assert_eq!((&seen["positional"]["value"], &seen["positional"]["output"]), (&json!("ü€😀\u{0}"), &json!("x\n")));
    assert_eq!((&seen["error"]["code"], &seen["error"]["data"]["line"]), (&json!(-32000), &json!(2)), "{seen}");
    assert_eq!((&seen["method"]["code"], &seen["params"]["code"]), (&json!(-32601), &json!(-32602)));
    assert_eq!((&seen["uuid"]["tenant"], &seen["parts"]["tenant"]), (&json!("local"), &json!("local")));
    let batch = &seen["batch"];
    assert_eq!(
        (&batch[0]["value"], &batch[1]["data"]["value"], &batch[2]["tenant"]),
        (&json!(1), &json!(2), &json!("local"))
    );
    assert_eq!(
        (&seen["large"], &seen["binary"], &seen["closed"]),
        (&json!(1009), &json!(1003), &json!(1000)),
        "{seen}"
    );
    let jobs = || {
        marmot.http().call("job.list", json!({ "states": ["succeeded"] })).unwrap()["jobs"].as_array().unwrap().len()
    };
    assert!(eventually(Duration::from_secs(10), || (jobs() == 4).then_some(())).is_some(), "the notification as well");
    marmot.stop();
}
