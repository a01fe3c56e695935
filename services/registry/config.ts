import { z } from "zod";
import { address, commonConfig, readConfig } from "#libs/config";

const shape = {
  LOG_LEVEL: commonConfig.LOG_LEVEL,
  NATS_URL: commonConfig.NATS_URL,
  NATS_MONITOR_URL: commonConfig.NATS_MONITOR_URL,
  REDIS_URL: commonConfig.REDIS_URL,
  REGISTRY_EVENTS: z.enum(["none", "nats"]).describe("none or nats").default("nats"),
  REGISTRY_AUTH: z.enum(["none", "token"]).describe("none or token").default("none"),
  REGISTRY_HTTP_ADDRESS: z
    .string()
    .regex(/^([^:/\s]+|\[[0-9a-f:]+\]):\d{1,5}$/i)
    .describe("host:port")
    .default("127.0.0.1:7080"),
  REGISTRY_PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .describe("a URL such as https://registry.example")
    .optional(),
  REGISTRY_ADDRESS: address.default("127.0.0.1:7075"),
  REGISTRY_STORE: z.enum(["file", "s3"]).describe("file or s3").default("file"),
  REGISTRY_DATA: z
    .string()
    .startsWith("/")
    .describe("an absolute path of a folder")
    .default("/var/lib/stillpoint/registry"),
  REGISTRY_S3_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/)
    .describe("the name of a bucket")
    .default("stillpoint-registry"),
  REGISTRY_S3_REGION: z.string().min(1).describe("a region").default("us-east-1"),
  /** Of a store that is not AWS. */
  REGISTRY_S3_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .describe("a URL such as http://127.0.0.1:9000")
    .optional(),
  REGISTRY_MAX_BLOB_BYTES: z.coerce
    .number()
    .int()
    .positive()
    .describe("bytes that one blob may have")
    .default(64 * 2 ** 30),
  REGISTRY_UPLOAD_TTL_SECONDS: z.coerce
    .number()
    .int()
    .positive()
    .describe("seconds after which an idle upload is forgotten")
    .default(86_400),
  REGISTRY_COLLECT_SECONDS: seconds("seconds between two looks at what may be collected", 0.1).default(60),
  REGISTRY_GRACE_SECONDS: seconds("seconds for which nothing may have referred to a blob").default(3_600),
  REGISTRY_UNTAGGED_SECONDS: seconds("seconds for which a manifest without tags is kept").default(30 * 86_400),
  REGISTRY_VERIFY_SECONDS: seconds("seconds between two verifications of everything", 1).default(86_400),
};

function seconds(description: string, least = 0) {
  return z.coerce.number().min(least).describe(description);
}

export type RegistryConfig = z.output<z.ZodObject<typeof shape>>;

export function readRegistryConfig(env?: NodeJS.ProcessEnv): RegistryConfig {
  return readConfig(shape, env);
}
