import { hostname } from "node:os";
import { z } from "zod";
import { address, commonConfig, readConfig, registryLoginConfig, secretsKeyConfig } from "#libs/config";
import { hostIdOf } from "#libs/names";

const count = z.coerce.number().int();

const shape = {
  LOG_LEVEL: commonConfig.LOG_LEVEL,
  NATS_URL: commonConfig.NATS_URL,
  AGENT_HOST_NAME: z
    .string()
    .regex(/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/)
    .describe("lower-case letters, digits and dashes")
    .default(() => hostIdOf(hostname())),
  AGENT_DATA: z.string().startsWith("/").describe("an absolute path").default("/var/lib/stillpoint/agent"),
  /** Where the agent listens; agent.sock in its data folder when unset. */
  AGENT_ADDRESS: address.optional(),
  /** Where services find it, when that is not where it listens. */
  AGENT_REACHED_AT: address.optional(),
  REGISTRY_HTTP_URL: z
    .url({ protocol: /^https?$/ })
    .describe("a URL")
    .default("http://127.0.0.1:7080"),
  /** What pulled images may take before those that no VM stands on are evicted. */
  AGENT_IMAGE_CACHE_BYTES: count
    .min(0)
    .describe("a number of bytes")
    .default(64 * 2 ** 30),
  AGENT_LABELS: z
    .string()
    .regex(/^([^=,]+=[^=,]*(,[^=,]+=[^=,]*)*)?$/)
    .describe("key=value pairs with commas between")
    .default(""),
  /** Where the host stands, for placement. */
  AGENT_ZONE: z
    .string()
    .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/)
    .describe('up to 63 letters, digits, ".", "_" and "-"')
    .optional(),
  /** First of the system users that VMs run as when the agent is root. */
  AGENT_QEMU_UID: count.min(1).describe("a user id").default(200_000),
  /** How fast layers are merged in the background; 0 is as fast as it goes. */
  AGENT_MERGE_BYTES_PER_SECOND: count.min(0).describe("bytes per second, 0 for no limit").default(0),
  /** Docker Engine's socket; "none" for a host without containers. */
  AGENT_DOCKER_HOST: z
    .string()
    .regex(/^(none|unix:(\/\/)?\/[^/].*)$/)
    .describe('unix:///path, or "none"')
    .default("unix:///var/run/docker.sock"),
  /** Containers may mount folders of the host that lie below it; none when unset. */
  AGENT_CONTAINER_HOST_ROOT: z.string().startsWith("/").describe("an absolute path").optional(),
  /** Linux capabilities that containers may be given beyond the engine's default. */
  AGENT_CONTAINER_CAPABILITIES: z
    .string()
    .regex(/^([A-Za-z_]+(,[A-Za-z_]+)*)?$/)
    .describe("names of capabilities with commas between")
    .default(""),
  /** Images of containers that the agent has pulled are removed from the engine beyond so much; 0 is no limit. */
  AGENT_CONTAINER_IMAGES_BYTES: count.min(0).describe("bytes, 0 for no limit").default(0),
  /** Whom the agent and its container engine log in to the registry as; nobody when unset. */
  ...registryLoginConfig,
  /** Seals the values of secrets in the data folder; when unset, with a key that is made there. */
  ...secretsKeyConfig,
};

export type AgentConfig = z.infer<z.ZodObject<typeof shape>>;

export function readAgentConfig(env?: NodeJS.ProcessEnv): AgentConfig {
  return readConfig(shape, env);
}
