import type { JetStreamManager, StreamConfig } from "@nats-io/jetstream";

/** Makes the stream; leaves one alone that exists. Safe to run in several processes at once. */
export async function ensureStream(
  manager: JetStreamManager,
  config: Partial<StreamConfig> & { readonly name: string },
): Promise<void> {
  try {
    await manager.streams.info(config.name);
  } catch {
    await manager.streams.add(config).catch(async (cause: unknown) => {
      // Another process may have been faster, with the same configuration.
      await manager.streams.info(config.name).catch(() => {
        throw new Error(`stream ${config.name} cannot be made`, { cause });
      });
    });
  }
}
