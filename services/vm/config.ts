import { address, addresses, commonConfig, readConfig } from "#libs/config";

const shape = {
  ...commonConfig,
  VM_ADDRESS: address.default("127.0.0.1:7074"),
  /** Where these are reached; STILLPOINT_ADDRESS if unsaid. */
  SCHEDULER_ADDRESS: addresses.optional(),
  REGISTRY_ADDRESS: addresses.optional(),
};

/** Reads the VM service's configuration; fails with one error that names each wrong variable. */
export const readVmConfig = (env?: NodeJS.ProcessEnv) => readConfig(shape, env);

export type VmConfig = ReturnType<typeof readVmConfig>;
