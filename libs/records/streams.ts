import {
  DiscardPolicy,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { checkVersion } from "./check-servers.ts";
import { ensureGrowingStream, ensureStream } from "./ensure-stream.ts";
import { JetStreamLog, openManager } from "./jetstream-log.ts";

/** What a stream has to be; `complete` means that a reader must not miss a message. */
export interface StreamSpec {
  readonly config: Partial<StreamConfig> & { readonly name: string; readonly subjects: string[] };
  readonly complete: boolean;
  /** Its sequences leave it, as epochs or tokens: they never go back, also when it is lost and made anew. */
  readonly grows?: true;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const GIB = 1024 ** 3;
const file = { storage: StorageType.File, retention: RetentionPolicy.Limits, duplicate_window: nanos(120_000) };

/** Every stream there is (DESIGN.md section 5). */
export const streamSpecs = {
  /** Records of all resources: whole states, 64 of each. */
  REC: {
    config: { ...file, name: "REC", subjects: ["rec.>"], max_msgs_per_subject: 64, deny_delete: true },
    complete: false,
    grows: true,
  },
  /** Operations: the newest state of each. */
  OPS: {
    config: { ...file, name: "OPS", subjects: ["op.>"], max_msgs_per_subject: 1, max_age: nanos(30 * DAY_MS) },
    complete: false,
    grows: true,
  },
  /** Hints that an operation waits for a worker; they may be lost. */
  JOBS: {
    config: {
      name: "JOBS",
      subjects: ["job.*"],
      storage: StorageType.Memory,
      retention: RetentionPolicy.Workqueue,
      max_age: nanos(DAY_MS),
    },
    complete: false,
  },
  /** Public events, derived from REC. */
  EVT: {
    config: {
      ...file,
      name: "EVT",
      subjects: ["evt.>"],
      max_age: nanos(7 * DAY_MS),
      max_bytes: 2 * GIB,
      discard: DiscardPolicy.Old,
    },
    complete: true,
    grows: true,
  },
  /** Pulls of images, told as well as can be. */
  PULL: {
    config: { ...file, name: "PULL", subjects: ["pull.>"], max_age: nanos(7 * DAY_MS), max_bytes: GIB / 4 },
    complete: false,
  },
  /** What agents observed, until the owner of the record has folded it in. */
  OBS: {
    config: { ...file, name: "OBS", subjects: ["obs.>"], max_age: nanos(7 * DAY_MS), max_bytes: GIB },
    complete: false,
  },
} satisfies Record<string, StreamSpec>;

/** The logs that services read and write. */
export interface Streams {
  readonly rec: JetStreamLog;
  readonly ops: JetStreamLog;
  readonly evt: JetStreamLog;
}

/**
 * Makes every stream that is missing, and opens the logs. In a cluster three servers keep each message. Fails when the
 * server is one that loses writes.
 */
export async function openStreams(nats: NatsConnection): Promise<Streams> {
  checkVersion(nats.info?.version ?? "", nats.info?.cluster !== undefined);
  const manager = await openManager(nats);
  await ensureStreams(nats, manager);
  const open = (spec: StreamSpec) => new JetStreamLog(nats, manager, spec.config.name, spec.complete);
  return { rec: open(streamSpecs.REC), ops: open(streamSpecs.OPS), evt: open(streamSpecs.EVT) };
}

/** Makes every stream that is missing; gives the names of those that this call has made. */
export async function ensureStreams(nats: NatsConnection, manager: JetStreamManager): Promise<string[]> {
  const made: string[] = [];
  for (const { config, grows } of Object.values<StreamSpec>(streamSpecs)) {
    const ensure = grows === true ? ensureGrowingStream : ensureStream;
    if (await ensure(manager, replicated(nats, config))) made.push(config.name);
  }
  return made;
}

/** The configuration of a stream of which every message is on three servers where there are several. */
export function replicated<Config extends StreamSpec["config"]>(nats: NatsConnection, config: Config) {
  return { ...config, num_replicas: nats.info?.cluster === undefined ? 1 : CLUSTER_REPLICAS };
}

const CLUSTER_REPLICAS = 3;
