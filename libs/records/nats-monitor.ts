import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { json } from "node:stream/consumers";

const ANSWER_WITHIN_MS = 5_000;

/** What a nats-server says of itself (`/varz` of its HTTP monitoring). */
export interface ServerReport {
  readonly version?: string;
  readonly cluster?: { readonly name?: string };
  readonly jetstream?: {
    /** `max_storage` in bytes. */
    readonly config?: { readonly sync_always?: boolean; readonly max_storage?: number };
    /** `storage`: what its streams take, in bytes. */
    readonly stats?: { readonly storage?: number };
  };
}

/** It does not tell. */
export class Silence extends Error {}

/** By node:http: `fetch` would take 15 MiB for this one request. @throws Silence */
export async function readMonitor(monitorUrl: string): Promise<ServerReport> {
  const url = new URL("/varz", monitorUrl);
  try {
    const request = get(url, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS), agent: false });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`HTTP ${response.statusCode}`);
    return (await json(response)) as ServerReport;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Silence(
      `NATS_MONITOR_URL ${url.origin} does not tell how nats-server syncs (${why}): is \`http:\` in its configuration?`,
      { cause },
    );
  }
}
