import { hostname } from "node:os";
import { z } from "zod";
import { address, commonConfig, readConfig } from "#libs/config";

const count = z.coerce.number().int();

const shape = {
  LOG_LEVEL: commonConfig.LOG_LEVEL,
  NATS_URL: commonConfig.NATS_URL,
  AGENT_HOST_NAME: z
    .string()
    .regex(/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/)
    .describe("lower-case letters, digits and dashes")
    .default(() => hostId(hostname())),
  AGENT_DATA: z.string().startsWith("/").describe("an absolute path").default("/var/lib/stillpoint/agent"),
  /** Where the agent listens; agent.sock in its data folder when unset. */
  AGENT_ADDRESS: address.optional(),
  /** Where services find it, when that is not where it listens. */
  AGENT_REACHED_AT: address.optional(),
  REGISTRY_HTTP_URL: z
    .url({ protocol: /^https?$/ })
    .describe("a URL")
    .default("http://127.0.0.1:7080"),
  AGENT_LABELS: z
    .string()
    .regex(/^([^=,]+=[^=,]*(,[^=,]+=[^=,]*)*)?$/)
    .describe("key=value pairs with commas between")
    .default(""),
  /** First of the system users that VMs run as when the agent is root. */
  AGENT_QEMU_UID: count.min(1).describe("a user id").default(200_000),
  /** How fast layers are merged in the background; 0 is as fast as it goes. */
  AGENT_MERGE_BYTES_PER_SECOND: count.min(0).describe("bytes per second, 0 for no limit").default(0),
};

export type AgentConfig = z.infer<z.ZodObject<typeof shape>>;

export function readAgentConfig(env?: NodeJS.ProcessEnv): AgentConfig {
  return readConfig(shape, env);
}

/** A host's id from its name: what does not fit becomes a dash. */
export function hostId(name: string): string {
  const [first = ""] = name.toLowerCase().split(".");
  const id = first
    .replace(/[^a-z0-9-]/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 63);
  return id === "" ? "host" : id;
}
