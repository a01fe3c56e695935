import { address, addresses, commonConfig, readConfig, secretsKeyConfig } from "#libs/config";

const shape = {
  ...commonConfig,
  CONTAINER_ADDRESS: address.default("127.0.0.1:7077"),
  /** Where these are reached; STILLPOINT_ADDRESS if unsaid. */
  SCHEDULER_ADDRESS: addresses.optional(),
  REGISTRY_ADDRESS: addresses.optional(),
  /** Seals the values of secrets in records; without it containers have none. */
  ...secretsKeyConfig,
};

/** Reads the container service's configuration; fails with one error that names each wrong variable. */
export const readContainerConfig = (env?: NodeJS.ProcessEnv) => readConfig(shape, env);

export type ContainerConfig = ReturnType<typeof readContainerConfig>;
