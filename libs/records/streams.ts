import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { ensureStream } from "./ensure-stream.ts";
import { JetStreamLog, openManager } from "./jetstream-log.ts";

/** What a stream has to be; `complete` means that a reader must not miss a message. */
export interface StreamSpec {
  readonly config: Partial<StreamConfig> & { readonly name: string; readonly subjects: string[] };
  readonly complete: boolean;
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
  },
  /** Operations: the newest state of each. */
  OPS: {
    config: { ...file, name: "OPS", subjects: ["op.>"], max_msgs_per_subject: 1, max_age: nanos(30 * DAY_MS) },
    complete: false,
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

export interface StreamsOptions {
  /** How many servers keep each message: 1, or 3 in a cluster. */
  readonly replicas?: 1 | 3;
}

/** Makes every stream that is missing, checks the server, and opens the logs. */
export async function openStreams(nats: NatsConnection, { replicas = 1 }: StreamsOptions = {}): Promise<Streams> {
  checkServer(nats.info?.version ?? "0.0.0", replicas);
  const manager = await openManager(nats);
  for (const { config } of Object.values(streamSpecs))
    await ensureStream(manager, { ...config, num_replicas: replicas });
  const open = (spec: StreamSpec) => new JetStreamLog(nats, manager, spec.config.name, spec.complete);
  return { rec: open(streamSpecs.REC), ops: open(streamSpecs.OPS), evt: open(streamSpecs.EVT) };
}

const CLUSTER_MINIMUM = [2, 10, 27] as const;

/**
 * Refuses servers that would lose writes: below 2.9.21 a clustered stream skips the compare-and-set on apply, and
 * streams vanished in clusters below 2.10.23. A single node is right on every version.
 */
export function checkServer(version: string, replicas: number): void {
  if (replicas === 1) return;
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, minimum] of CLUSTER_MINIMUM.entries()) {
    const part = parts[index] ?? 0;
    if (part > minimum) return;
    if (part < minimum) {
      throw new Error(`nats-server ${version} loses writes in a cluster: use 2.10.27 or later, or one replica`);
    }
  }
}
