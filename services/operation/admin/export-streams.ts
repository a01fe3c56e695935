import type { JetStreamManager } from "@nats-io/jetstream";
import type { BackupHeader, BackupItem, BackupMessage, BackupStream } from "#contracts/operation/v1/admin";
import { BackupCounts, formatName } from "#libs/backup";
import type { Clock } from "#libs/clock";
import { type Log, streamSpecs } from "#libs/records";
import manifest from "../../../package.json" with { type: "json" };

export interface ExportDeps {
  readonly manager: JetStreamManager;
  readonly natsVersion: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A stream whose messages are in the backup. */
export interface ExportedStream {
  readonly name: string;
  readonly filter: string;
  readonly log: Pick<Log, "follow" | "lastSequence" | "read">;
}

/**
 * The streams as a backup: each up to one of its sequences, which for REC is all records as they were at one instant.
 * An operation is read after what it did, so that one whose effects are not in the backup may be, and is not gone on
 * with after a restore.
 */
export async function* exportStreams(deps: ExportDeps, streams: readonly ExportedStream[]): AsyncGenerator<BackupItem> {
  yield { item: { $case: "header", value: await headerOf(deps) } };
  const counts = new BackupCounts();
  for (const stream of streams) {
    for await (const message of messagesOf(stream, deps.signal)) {
      counts.add(message);
      yield { item: { $case: "message", value: message } };
    }
  }
  deps.signal.throwIfAborted();
  yield { item: { $case: "trailer", value: { counts: counts.counts() } } };
}

/**
 * From the oldest to the newest message of the moment when reading had come as far as it was at the beginning: what
 * falls out of the stream meanwhile, because newer states took its place, is there in its newer state.
 */
async function* messagesOf({ name, filter, log }: ExportedStream, signal: AbortSignal): AsyncGenerator<BackupMessage> {
  if ((await log.read(filter)) === undefined) return;
  const first = await log.lastSequence();
  let last: number | undefined;
  for await (const { subject, sequence, time, data, pending } of log.follow(filter, { afterSequence: 0, signal })) {
    yield { stream: name, subject, sequence, time, data };
    if (sequence >= first) last ??= await log.lastSequence();
    if (pending === 0 || (last !== undefined && sequence >= last)) return;
  }
}

async function headerOf({ manager, natsVersion, clock }: ExportDeps): Promise<BackupHeader> {
  const streams: BackupStream[] = [];
  for (const name of Object.keys(streamSpecs)) streams.push(await describe(manager, name));
  return { format: formatName, stillpointVersion: manifest.version, natsVersion, time: clock.now(), streams };
}

async function describe(manager: JetStreamManager, name: string): Promise<BackupStream> {
  const { config, state } = await manager.streams.info(name);
  const consumers: string[] = [];
  for await (const consumer of manager.consumers.list(name)) {
    if (consumer.config.durable_name !== undefined) consumers.push(JSON.stringify(consumer.config));
  }
  return {
    ...{ name, config: JSON.stringify(config), consumers },
    ...{ firstSequence: state.first_seq, messages: state.messages },
  };
}
