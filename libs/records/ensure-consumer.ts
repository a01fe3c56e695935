import { type ConsumerConfig, JetStreamApiError, type JetStreamManager } from "@nats-io/jetstream";

/** "consumer already exists": with another configuration; the same one is no error (server/errors.json). */
const EXISTS_OTHERWISE = 10_148;

/** Makes the durable consumer, or changes one that an older version made; where it stands is kept. */
export async function ensureConsumer(
  manager: JetStreamManager,
  stream: string,
  config: Partial<ConsumerConfig> & { readonly durable_name: string },
): Promise<void> {
  try {
    await manager.consumers.add(stream, config);
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== EXISTS_OTHERWISE) throw error;
    await manager.consumers.update(stream, config.durable_name, config);
  }
}
