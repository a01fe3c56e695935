import { z } from "zod";
import { address, addresses, commonConfig, readConfig } from "#libs/config";

const wholeSeconds = z.coerce.number().int().positive().describe("a whole number of seconds, 1 or more");

/** What the scheduler reads from the environment. */
export const readSchedulerConfig = (env?: NodeJS.ProcessEnv) =>
  readConfig(
    {
      ...commonConfig,
      SCHEDULER_ADDRESS: address.default("127.0.0.1:7072"),
      /** Where other replicas reach this one; where it listens if unsaid. */
      SCHEDULER_ADVERTISE_ADDRESS: address.optional(),
      /** A replica that has not renewed its record for so long owns no hosts any more. */
      SCHEDULER_TTL_MS: z.coerce.number().int().min(500).describe("milliseconds, at least 500").default(6_000),
      /** Where these are reached; STILLPOINT_ADDRESS if unsaid. */
      VM_ADDRESS: addresses.optional(),
      CONTAINER_ADDRESS: addresses.optional(),
      CPU_OVERCOMMIT: z.coerce.number().min(1).max(64).describe("a number from 1 to 64").default(4),
      HOST_MEMORY_RESERVED_MIB: z.coerce.number().int().min(0).describe("a whole number of MiB").default(256),
      HOST_DOWN_AFTER_SECONDS: wholeSeconds.default(9),
      RECONCILE_SECONDS: wholeSeconds.default(30),
      /** Folder with ca.crt and ca.key, by which machines get certificates when they join; unset: none can. */
      JOIN_AUTHORITY: z.string().startsWith("/").describe("an absolute path of a folder").optional(),
      /** Where machines join, without a certificate. */
      JOIN_ADDRESS: address.default("127.0.0.1:7079"),
      JOIN_CERTIFICATE_DAYS: z.coerce.number().int().min(1).max(3_650).describe("1 to 3650 days").default(365),
      /** Secret of the key that nats-server believes about its clients (`auth_callout`); unset: nobody answers it here. */
      NATS_ISSUER_SEED: z
        .string()
        .regex(/^SA[A-Z2-7]{56}$/)
        .describe("a seed as `stillpoint cert nats-issuer` makes it")
        .optional(),
      /** A user of NATS's system account, by which connections of hosts that were forgotten are ended. */
      NATS_SYSTEM_URL: commonConfig.NATS_URL.unwrap().optional(),
      /** What machines that join are told; NATS_URL without its login if unsaid. */
      JOIN_NATS_URL: commonConfig.NATS_URL.unwrap().optional(),
      JOIN_REGISTRY_URL: z
        .url({ protocol: /^https?$/ })
        .describe("a URL")
        .optional(),
    },
    env,
  );

export type SchedulerConfig = ReturnType<typeof readSchedulerConfig>;
