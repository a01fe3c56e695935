import { address, commonConfig, readConfig } from "#libs/config";

const shape = {
  ...commonConfig,
  OPERATION_ADDRESS: address.default("127.0.0.1:7076"),
};

/** Reads the operation service's configuration; fails with one error that names each wrong variable. */
export const readOperationConfig = (env?: NodeJS.ProcessEnv) => readConfig(shape, env);

export type OperationConfig = ReturnType<typeof readOperationConfig>;
