import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { decodeRecord, openStreams } from "#libs/records";

/** Where the logs are. */
export interface LogsPlace {
  readonly nats: { readonly url: string };
}

/** Unlike those of services, it does not wait for a server that is away. */
const connectTo = ({ nats: { url } }: LogsPlace): Promise<NatsConnection> =>
  connect({ servers: url.split(","), timeout: 2_000, maxReconnectAttempts: 2, reconnectTimeWait: 250 });

/** How many operations there have been; 0 when nobody answers. */
export async function acceptedIn({ nats: at }: Partial<LogsPlace>): Promise<number> {
  if (at === undefined) return 0;
  try {
    const nats = await connectTo({ nats: at });
    try {
      const { state } = await (await jetstreamManager(nats)).streams.info("OPS");
      return state.num_subjects ?? 0;
    } finally {
      await nats.close();
    }
  } catch {
    return 0;
  }
}

/** The newest state of each record and of each operation, as JSON. */
export async function readAll(place: LogsPlace): Promise<{ records: string; operations: string }> {
  const nats = await connectTo(place);
  try {
    const { rec, ops } = await openStreams(nats);
    const records = (await rec.newest("rec.>")).map(({ sequence, data }) => ({ sequence, ...decodeRecord(data) }));
    const operations = (await ops.newest("op.>")).map(({ sequence, data }) => ({
      sequence,
      ...(JSON.parse(new TextDecoder().decode(data)) as object),
    }));
    return { records: JSON.stringify(records, undefined, 1), operations: JSON.stringify(operations, undefined, 1) };
  } finally {
    await nats.close();
  }
}
