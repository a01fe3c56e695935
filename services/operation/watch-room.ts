import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import { readMonitor, type ServerReport } from "#libs/records";
import { observeGauge } from "#libs/telemetry";

export interface WatchRoomDeps {
  /** One or several, with commas between. */
  readonly monitorUrls: string;
  readonly clock: Pick<Clock, "sleep">;
  readonly logger: Pick<Logger, "warn">;
  readonly signal: AbortSignal;
  /** One minute if unsaid. */
  readonly everyMs?: number;
}

/** From this share of what a server may keep on it is warned of; what it holds back for itself is not counted. */
const warnFrom = 0.8;

/**
 * Tells in time of NATS servers that fill up, as they refuse all writes when they are full: in the log, each time that one
 * comes above four fifths of its `max_file_store`, and as a gauge. Until the signal aborts.
 */
export async function watchRoom({
  monitorUrls,
  clock,
  logger,
  signal,
  everyMs = 60_000,
}: WatchRoomDeps): Promise<void> {
  const used = new Map<string, number>();
  const forget = observeGauge({
    name: "stillpoint.nats.store.used",
    unit: "1",
    description: "what a NATS server keeps, as a share of what it may keep (max_file_store)",
    attributes: ["server"],
    read: () => [...used].map(([server, value]) => ({ value, attributes: { server } })),
  });
  const look = async (url: string) => {
    // One that is away is told of elsewhere.
    const report = await readMonitor(url).catch(() => undefined);
    const share = report && shareOf(report);
    const server = new URL(url).host;
    const before = used.get(server) ?? 0;
    if (share === undefined) return void used.delete(server);
    used.set(server, share);
    if (share < warnFrom || before >= warnFrom) return;
    const what = { server, percent: Math.round(100 * share) };
    logger.warn(what, "a NATS server is nearly full, and refuses all writes when it is: raise max_file_store");
  };
  while (!signal.aborted) {
    await Promise.all(monitorUrls.split(",").map(look));
    await clock.sleep(everyMs, signal).catch(() => undefined);
  }
  forget();
}

function shareOf({ jetstream: { config, stats } = {} }: ServerReport): number | undefined {
  const { max_storage: most = 0 } = config ?? {};
  return most > 0 && stats?.storage !== undefined ? stats.storage / most : undefined;
}
