import { z } from "zod";
import { commonConfig, readConfig } from "#libs/config";

const shape = {
  ...commonConfig,
  OPERATION_ADDRESS: z
    .string()
    .regex(/^(unix:\/.+|[^:/]+:\d{1,5}|\[[0-9a-f:]+\]:\d{1,5})$/i)
    .describe("host:port, or unix:/path")
    .default("127.0.0.1:7076"),
};

/** Reads the operation service's configuration; fails with one error that names each wrong variable. */
export const readOperationConfig = (env?: NodeJS.ProcessEnv) => readConfig(shape, env);

export type OperationConfig = ReturnType<typeof readOperationConfig>;
