import { address, commonConfig, readConfig } from "#libs/config";

const shape = {
  ...commonConfig,
  CHECKPOINT_ADDRESS: address.default("127.0.0.1:7073"),
};

/** Reads the checkpoint service's configuration; fails with one error that names each wrong variable. */
export const readCheckpointConfig = (env?: NodeJS.ProcessEnv) => readConfig(shape, env);

export type CheckpointConfig = ReturnType<typeof readCheckpointConfig>;
