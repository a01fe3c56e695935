import { readFileSync } from "node:fs";
import { z } from "zod";
import { SecretKeys } from "#libs/secrets";

/**
 * Reads the environment once, at start. Fails with one error that names each wrong variable and the form it should
 * have (the schema's description); it never quotes a value, which may hold a password. Empty means unset. A variable X
 * may be given as X_FILE, the path of a file that holds it, as secrets are mounted into containers.
 */
export function readConfig<Shape extends z.ZodRawShape>(
  shape: Shape,
  env: NodeJS.ProcessEnv = process.env,
): z.output<z.ZodObject<Shape>> {
  const set = Object.fromEntries(
    Object.entries({ ...env, ...fromFiles(shape, env) }).filter(([, value]) => value !== ""),
  );
  const result = z.object(shape).safeParse(set);
  if (result.success) return result.data;
  const lines = result.error.issues.map(({ path: [variable = ""], message }) => {
    const name = String(variable);
    return `  ${name} ${set[name] === undefined ? "is not set" : "is wrong"}: expected ${form(shape[name]) ?? message}`;
  });
  throw new Error(`the configuration is not right\n${lines.join("\n")}`);
}

function fromFiles(shape: z.ZodRawShape, env: NodeJS.ProcessEnv): Record<string, string> {
  const read: Record<string, string> = {};
  for (const name of Object.keys(shape)) {
    const path = env[`${name}_FILE`];
    if (path === undefined || path === "") continue;
    try {
      read[name] = readFileSync(path, "utf8").trim();
    } catch (cause) {
      throw new Error(`the configuration is not right\n  ${name}_FILE cannot be read: ${path}`, { cause });
    }
  }
  return read;
}

/** The description of a schema, also under the default or optional that wraps it. */
function form(schema: z.core.$ZodType | undefined): string | undefined {
  if (schema === undefined) return undefined;
  const description = z.globalRegistry.get(schema)?.description;
  if (description !== undefined) return description;
  const inner = schema instanceof z.ZodDefault || schema instanceof z.ZodOptional ? schema.unwrap() : undefined;
  return form(inner);
}

const oneAddress = /(unix:\/[^,]+|[^:/,]+:\d{1,5}|\[[0-9a-f:]+\]:\d{1,5})/i;

/** Where a gRPC server listens. */
export const address = z
  .string()
  .regex(new RegExp(`^${oneAddress.source}$`, "i"))
  .describe("host:port, or unix:/path");

/** Where a gRPC server is reached, or its replicas, separated by commas. */
export const addresses = z
  .string()
  .regex(new RegExp(`^${oneAddress.source}(,${oneAddress.source})*$`, "i"))
  .describe("host:port, or unix:/path, or several separated by commas");

const file = z.string().startsWith("/").describe("an absolute path of a PEM file");

/** One URL or several, with commas between. */
function urls(protocol: RegExp, description: string) {
  const one = z.url({ protocol });
  return z
    .string()
    .refine((text) => text.split(",").every((url) => one.safeParse(url).success))
    .describe(description);
}

/** The variables that every service reads. */
export const commonConfig = {
  LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"])
    .describe("debug, info, warn, error or silent")
    .default("info"),
  NATS_URL: urls(/^(nats|tls)$/, "a URL such as nats://127.0.0.1:4222, or several with commas between").default(
    "nats://127.0.0.1:4222",
  ),
  /** HTTP monitoring of each nats-server; where it is set, servers that lose writes are refused. */
  NATS_MONITOR_URL: urls(/^http$/, "a URL such as http://127.0.0.1:8222, or several with commas between").optional(),
  REDIS_URL: z
    .string()
    .regex(/^(rediss?:\/\/.+|rediss?\+sentinel:\/\/[^/]+\/[\w.-]+|unix:\/\/.+|\/.+)$/)
    .describe("redis://127.0.0.1:6379, redis+sentinel://h1:26379,h2:26379,h3:26379/name, or the path of a socket")
    .default("redis://127.0.0.1:6379"),
  /** Where the other services are reached; in a cluster the address of the proxy before them, or of several. */
  STILLPOINT_ADDRESS: addresses.default("127.0.0.1:7070"),
  /** How long the worker of an operation may be silent before another takes over. */
  OPERATION_TTL_MS: z.coerce.number().int().min(500).describe("milliseconds, at least 500").default(15_000),
  /** PEM files for mutual TLS, all three or none; without them everything listens on loopback or Unix sockets only. */
  TLS_CA: file.optional(),
  TLS_CERT: file.optional(),
  TLS_KEY: file.optional(),
  /** Where Prometheus may fetch metrics; unset means that there are none. */
  METRICS_ADDRESS: address.optional(),
};

/** Variables of whoever speaks with a registry that asks for logins. */
export const registryLoginConfig = {
  STILLPOINT_REGISTRY_USER: z.string().min(1).describe("the name of a registry account").optional(),
  STILLPOINT_REGISTRY_PASSWORD: z.string().min(1).describe("its password").optional(),
  STILLPOINT_REGISTRY_PASSWORD_FILE: z.string().startsWith("/").describe("an absolute path of a file").optional(),
};

/** Of whoever keeps values of secrets; see libs/secrets. */
export const secretsKeyConfig = {
  STILLPOINT_SECRETS_KEY: z
    .string()
    .refine(isKeys)
    .describe("base64 of 32 random bytes, as `openssl rand -base64 32` prints it; several in lines, the first seals")
    .optional(),
};

function isKeys(text: string): boolean {
  try {
    SecretKeys.parse(text);
    return true;
  } catch {
    return false;
  }
}
