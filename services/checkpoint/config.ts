import { z } from "zod";
import { address, addresses, commonConfig, readConfig, registryLoginConfig } from "#libs/config";

const shape = {
  ...commonConfig,
  CHECKPOINT_ADDRESS: address.default("127.0.0.1:7073"),
  /** Checkpoints of one VM at most. */
  CHECKPOINT_LIMIT: z.coerce.number().int().min(1).max(1_000).describe("1 to 1000").default(50),
  /** Where checkpoints that are pulled are looked at. */
  REGISTRY_HTTP_URL: z
    .url({ protocol: /^https?$/ })
    .describe("a URL")
    .default("http://127.0.0.1:7080"),
  ...registryLoginConfig,
  /** Where the VM service is reached; STILLPOINT_ADDRESS if unsaid. */
  VM_ADDRESS: addresses.optional(),
  /** Where the container service is reached; STILLPOINT_ADDRESS if unsaid. */
  CONTAINER_ADDRESS: addresses.optional(),
};

/** Reads the checkpoint service's configuration; fails with one error that names each wrong variable. */
export const readCheckpointConfig = (env?: NodeJS.ProcessEnv) => readConfig(shape, env);

export type CheckpointConfig = ReturnType<typeof readCheckpointConfig>;
