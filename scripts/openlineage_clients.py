"""The Python part of `scripts/openlineage-clients`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.transport.async_http import AsyncHttpConfig, AsyncHttpTransport
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpCompression, HttpConfig, HttpTransport

BINARY, RUNS = sys.argv[1], int(sys.argv[2])
KEY, PORT = "a-key-of-the-stock-clients", 18788
URL = f"http://127.0.0.1:{PORT}"


def serve():
    environment = dict(os.environ, OVERLAY_PORT=str(PORT), INGEST_API_KEYS=KEY, LOG_FILTER="error")
    server = subprocess.Popen([BINARY, "serve"], env=environment, stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{URL}/health/live", timeout=1)
            return server
        except OSError:
            time.sleep(0.05)
    sys.exit("the server does not answer")


def ask(path):
    with urllib.request.urlopen(URL + path, timeout=30) as answer:
        return json.load(answer)


def auth():
    return ApiKeyTokenProvider({"apiKey": KEY})


TRANSPORTS = {
    "sync": lambda: HttpTransport(HttpConfig(url=URL, auth=auth())),
    "sync-gzip": lambda: HttpTransport(HttpConfig(url=URL, auth=auth(), compression=HttpCompression.GZIP)),
    "async": lambda: AsyncHttpTransport(AsyncHttpConfig(url=URL, auth=auth())),
    "async-gzip": lambda: AsyncHttpTransport(AsyncHttpConfig(url=URL, auth=auth(), compression=HttpCompression.GZIP)),
}
sent, failed = dict.fromkeys(TRANSPORTS, 0), []


def emit(name):
    client = OpenLineageClient(transport=TRANSPORTS[name]())
    for n in range(RUNS):
        run, job = Run(runId=str(uuid.uuid4())), Job(namespace=f"clients-{name}", name=f"job-{n % 7}")
        inputs = [InputDataset(namespace=f"clients-{name}", name=f"table-{n % 5}")]
        outputs = [OutputDataset(namespace=f"clients-{name}", name=f"table-{5 + n % 5}")]
        for state, ins, outs in ((RunState.START, inputs, []), (RunState.COMPLETE, [], outputs)):
            event = RunEvent(
                eventType=state, eventTime=f"2026-01-02T03:04:{n % 60:02}.{n:06}Z", run=run, job=job, inputs=ins, outputs=outs,
                producer="https://example.com/stock-client",
            )
            try:
                client.emit(event)
                sent[name] += 1
            except Exception as error:
                failed.append(f"{name}: {error!r}")
    if not client.close(60):
        failed.append(f"{name}: not everything was sent")


def main():
    server = serve()
    threads = [threading.Thread(target=emit, args=(name,)) for name in TRANSPORTS]
    for thread in threads:
        thread.start()
    while sum(sent.values()) < len(TRANSPORTS) * RUNS:
        time.sleep(0.001)
    server.send_signal(signal.SIGKILL)
    server.wait()
    at = dict(sent)
    server = serve()
    for thread in threads:
        thread.join()
    wrong = list(failed)
    for name in TRANSPORTS:
        jobs = ask(f"/api/v1/namespaces/clients-{name}/jobs")
        runs = sum(
            ask(f"/api/v1/namespaces/clients-{name}/jobs/{job['name']}/runs?limit=1")["totalCount"] for job in jobs["jobs"]
        )
        whole = [
            run
            for job in jobs["jobs"]
            for run in ask(f"/api/v1/namespaces/clients-{name}/jobs/{job['name']}/runs?limit=1000")["runs"]
            if run["state"] == "COMPLETED" and len(run["inputDatasetVersions"]) == len(run["outputDatasetVersions"]) == 1
        ]
        print(f"{name}: {sent[name]} events sent, the server killed after {at[name]}; {runs} runs, {len(whole)} whole")
        if sent[name] != 2 * RUNS or runs != RUNS or len(whole) != RUNS:
            wrong.append(f"{name}: {RUNS} whole runs were to be there")
    events = ask("/api/v1/events/lineage?limit=1")["totalCount"]
    print(f"{events} events are kept of {sum(sent.values())}")
    if events != min(sum(sent.values()), 10_000):
        wrong.append("events were lost or doubled")
    server.terminate()
    server.wait()
    for fault in wrong[:20]:
        print(f"WRONG {fault}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
