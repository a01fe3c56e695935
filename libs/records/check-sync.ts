import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { json } from "node:stream/consumers";

const ANSWER_WITHIN_MS = 5_000;

/**
 * Refuses a NATS server that answers before a write is on the disk: by default it syncs every two minutes, and a power
 * failure takes what it has acknowledged since. Only the server's HTTP monitoring tells (`/jsz?config=1`).
 */
export async function checkSync(monitorUrl: string): Promise<void> {
  const { config } = await readMonitor(monitorUrl);
  if (config?.sync_always === true) return;
  throw new Error(
    "nats-server acknowledges writes that are not on its disk, and loses them when the power fails: " +
      "write `jetstream { sync_interval: always }` into its configuration (2.10 or later)",
  );
}

interface JetStreamReport {
  readonly config?: { readonly sync_always?: boolean };
}

/** By node:http: `fetch` would take 15 MiB for this one request. */
async function readMonitor(monitorUrl: string): Promise<JetStreamReport> {
  const url = new URL("/jsz?config=1", monitorUrl);
  try {
    const request = get(url, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS), agent: false });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`HTTP ${response.statusCode}`);
    return (await json(response)) as JetStreamReport;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `NATS_MONITOR_URL ${url.origin} does not tell how nats-server syncs (${why}): is \`http:\` in its configuration?`,
      { cause },
    );
  }
}
