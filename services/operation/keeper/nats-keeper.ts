import { AckPolicy, DeliverPolicy, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import type { HostManifests } from "#libs/host-agent";
import type { Logger } from "#libs/logger";
import { decodeRecord, ensureConsumer, type Log, type LogMessage, type RecordView, subjectOfName } from "#libs/records";
import { hasMoved, keepersOf, type RecordSet, recordSets, toKept } from "./sets.ts";

export interface KeeperDeps {
  readonly nats: NatsConnection;
  /** Stream REC. */
  readonly records: Pick<Log, "read" | "newest">;
  readonly hosts: Pick<RecordView<Host>, "list">;
  readonly manifests: Pick<HostManifests, "keep">;
  readonly clock: Clock;
  readonly logger: Pick<Logger, "warn" | "debug">;
  readonly signal: AbortSignal;
}

const stream = "REC";
const consumer = {
  durable_name: "keeper",
  filter_subject: "rec.projects.>",
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.LastPerSubject,
  ack_wait: nanos(60_000),
  max_ack_pending: 2_000,
};
const BATCH = { max_messages: 256, expires: 1_000 };
const RESTART_MS = 1_000;
/** A host that does not answer is asked again after this, so often: one that is away must not keep others waiting. */
const AGAIN_MS = 30_000;
const TRIES = 20;
const ASK_WITHIN_MS = 10_000;

/**
 * Has hosts keep copies of the records of what they hold, a moment after each write: by these records that were lost are
 * written anew (`stillpoint admin rebuild`). Shared by all replicas; goes on where it stood. Runs until the signal.
 */
export async function keepCopies(deps: KeeperDeps): Promise<void> {
  const { nats, clock, logger, signal } = deps;
  while (!signal.aborted) {
    try {
      const manager = await jetstreamManager(nats);
      await ensureConsumer(manager, stream, consumer);
      await consume(deps);
    } catch (err) {
      if (!signal.aborted) logger.debug({ err }, "records cannot be read for hosts to keep");
    }
    await clock.sleep(RESTART_MS, signal).catch(() => undefined);
  }
}

async function consume(deps: KeeperDeps): Promise<void> {
  const source = await jetstream(deps.nats).consumers.get(stream, consumer.durable_name);
  while (!deps.signal.aborted) {
    const fetched = await source.fetch(BATCH);
    const stop = () => fetched.stop();
    deps.signal.addEventListener("abort", stop, { once: true });
    const batch: JsMsg[] = [];
    for await (const message of fetched) batch.push(message);
    deps.signal.removeEventListener("abort", stop);
    // Nothing came: it may be that the consumer is gone.
    if (batch.length === 0) await source.info();
    await keepBatch(deps, batch);
  }
}

async function keepBatch(deps: KeeperDeps, batch: readonly JsMsg[]): Promise<void> {
  const sets = recordSets(batch.map(toLogMessage));
  const late = new Set<string>();
  await Promise.all(
    sets.map(async (set) => {
      try {
        await keepSet(deps, set);
      } catch (err) {
        deps.logger.debug({ err, of: set.workload }, "a host does not keep its records yet");
        for (const { subject } of set.messages) late.add(subject);
      }
    }),
  );
  for (const message of batch) {
    if (late.has(message.subject) && message.info.deliveryCount < TRIES) message.nak(AGAIN_MS);
    else message.ack();
  }
}

async function keepSet(deps: KeeperDeps, { workload, messages }: RecordSet): Promise<void> {
  const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(ASK_WITHIN_MS)]);
  if (workload !== undefined) return await keepWorkload(deps, workload, messages, signal);
  const there = deps.hosts.list().filter(({ body }) => body.state !== HostState.DOWN);
  const hosts = there.map(({ name }) => name);
  for (const message of messages) {
    const kept = toKept(message);
    const keep = (host: string) => deps.manifests.keep(host, { uid: "", records: [kept] }, signal);
    const asked = await Promise.allSettled(keepersOf(kept.name, hosts).map(keep));
    const refused = asked.find(({ status }) => status === "rejected");
    if (refused?.status === "rejected") throw refused.reason;
  }
}

async function keepWorkload(
  { records, manifests }: KeeperDeps,
  workload: string,
  messages: readonly LogMessage[],
  signal: AbortSignal,
): Promise<void> {
  const subject = subjectOfName(workload);
  const own = messages.find((message) => message.subject === subject) ?? (await records.read(subject));
  if (own === undefined) return;
  const { uid, body, deleted } = decodeRecord(own.data);
  // Its files are gone, or not there yet.
  if (deleted === true || typeof body.host !== "string" || body.host === "") return;
  const children = hasMoved(own) ? await records.newest(`${subject}.>`) : [];
  const all = [...new Set([...messages, ...children])];
  await manifests.keep(body.host, { uid, records: all.map(toKept) }, signal);
}

function toLogMessage({ subject, seq, time, data }: JsMsg): LogMessage {
  return { subject, sequence: seq, time, data };
}
