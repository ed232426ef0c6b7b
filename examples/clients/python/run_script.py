"""Runs a script on a marmot server: shows what it prints while it runs, then its value. Ctrl-C cancels it.

    pip install -r requirements.txt
    marmot serve &
    echo 'for i in 0..3 { print(i); sleep(1); } 6 * 7' | python run_script.py

MARMOT_URL is where the server is, ws://127.0.0.1:8787/ws/ by default. MARMOT_TOKEN is the token, where it wants one.
The exit code is 0 for a script that has ended well, 1 for another one, 130 for one that was cancelled.
"""

import asyncio
import json
import os
import signal
import sys

from jsonrpcclient import Error, parse, request_json
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

URL = os.environ.get("MARMOT_URL", "ws://127.0.0.1:8787/ws/")
TOKEN = os.environ.get("MARMOT_TOKEN")


def result_of(answer):
    """What a call has given. Its error ends the program."""
    parsed = parse(answer)
    if isinstance(parsed, Error):
        sys.exit(f"error: {parsed.message} ({parsed.code})")
    return parsed.result


async def run(socket, script):
    """Returns what the last event of the job says."""
    await socket.send(request_json("job.submit", {"script": script}))
    job = {"job_id": result_of(json.loads(await socket.recv()))["job_id"]}

    def cancel():
        asyncio.ensure_future(socket.send(request_json("job.cancel", job)))

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, cancel)
    await socket.send(request_json("job.subscribe", job))
    async for message in socket:
        match json.loads(message):
            case {"params": {"kind": "log", "data": {"text": text}}}:
                print(text, flush=True)
            case {"params": {"kind": "lagged", "missed": missed}}:
                print(f"... {missed} events are missing ...", file=sys.stderr)
            case {"params": {"kind": "result", "data": result}}:
                return result
            case {"id": _} as answer:
                result_of(answer)
    sys.exit("error: the server has ended the connection")


async def main():
    script = sys.stdin.read()
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    async with connect(URL, additional_headers=headers) as socket:
        result = await run(socket, script)
    if result["state"] == "succeeded":
        print("=>", json.dumps(result["value"]))
        return 0
    failure = result["failure"]
    print(failure.get("rendered") or failure["message"], file=sys.stderr)
    return 130 if result["state"] == "cancelled" else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except (OSError, WebSocketException) as error:
        sys.exit(f"error: {error}")
