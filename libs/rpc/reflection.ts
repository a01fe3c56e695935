import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "#libs/logger";
import type { ScopedServer } from "./scoped-server.ts";

const descriptors = join(import.meta.dirname, "../contracts/stillpoint.binpb");

/** Read once for all servers of a process. */
let reading: Promise<Buffer> | undefined;

/** Adds grpc.reflection.v1 for these services; leaves it out, with a warning, when the descriptors were not generated. */
export async function addReflection(server: ScopedServer, logger: Logger, services: readonly string[]): Promise<void> {
  reading ??= readFile(descriptors);
  const protoset = await reading.catch((error: unknown) => {
    logger.warn({ err: error }, "no reflection: run npm run generate");
    return undefined;
  });
  if (protoset === undefined) return;
  const { ServerReflection, ServerReflectionService } = await import("nice-grpc-server-reflection");
  let reflection: ReturnType<typeof ServerReflection> | undefined;
  server.add(ServerReflectionService, {
    serverReflectionInfo(requests, context) {
      // Parsed at the first question: most servers are never asked.
      reflection ??= ServerReflection(protoset, services);
      return reflection.serverReflectionInfo(requests, context);
    },
  });
}
