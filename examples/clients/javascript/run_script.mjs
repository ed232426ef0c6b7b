// Runs a script on a marmot server: shows what it prints while it runs, then its value. Ctrl-C cancels it.
//
//     npm install
//     marmot serve &
//     echo 'for i in 0..3 { print(i); sleep(1); } 6 * 7' | node run_script.mjs
//
// MARMOT_URL is where the server is, ws://127.0.0.1:8787/ws/ by default. MARMOT_TOKEN is the token, where it wants one.
// The exit code is 0 for a script that has ended well, 1 for another one, 130 for one that was cancelled.

import { text } from "node:stream/consumers";
import { Client } from "rpc-websockets";

const url = process.env.MARMOT_URL ?? "ws://127.0.0.1:8787/ws/";
const token = process.env.MARMOT_TOKEN;

/** Resolves when the connection is open. */
function connect() {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const client = new Client(url, { reconnect: false, headers });
  return new Promise((resolve, reject) => {
    client.once("open", () => resolve(client));
    client.once("error", reject);
  });
}

/** Resolves to what the last event of the job says. */
async function run(client, script) {
  const job = await client.call("job.submit", { script });
  process.on("SIGINT", () => client.call("job.cancel", { job_id: job.job_id }));
  const ended = new Promise((resolve, reject) => {
    client.on("close", () => reject(new Error("the server has ended the connection")));
    client.on("job.event", ({ kind, data, missed }) => {
      if (kind === "log") console.log(data.text);
      if (kind === "lagged") console.error(`... ${missed} events are missing ...`);
      if (kind === "result") resolve(data);
    });
  });
  await client.call("job.subscribe", { job_id: job.job_id });
  return ended;
}

try {
  const script = await text(process.stdin);
  const client = await connect();
  const { state, value, failure } = await run(client, script);
  client.close();
  if (state === "succeeded") {
    console.log("=>", JSON.stringify(value));
  } else {
    console.error(failure.rendered ?? failure.message);
    process.exitCode = state === "cancelled" ? 130 : 1;
  }
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
