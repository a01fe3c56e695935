import { address, commonConfig, readConfig } from "#libs/config";

const shape = {
  ...commonConfig,
  VM_ADDRESS: address.default("127.0.0.1:7074"),
  /** Where these are reached; STILLPOINT_ADDRESS if unsaid. */
  SCHEDULER_ADDRESS: address.optional(),
  REGISTRY_ADDRESS: address.optional(),
};

/** Reads the VM service's configuration; fails with one error that names each wrong variable. */
export const readVmConfig = (env?: NodeJS.ProcessEnv) => readConfig(shape, env);

export type VmConfig = ReturnType<typeof readVmConfig>;
