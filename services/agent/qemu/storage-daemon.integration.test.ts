import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { createEmpty } from "#libs/disk-image";
import { temporaryFolder } from "#libs/testing";
import type { OfflineMerge } from "../ports.ts";
import { pullUpOffline } from "./storage-daemon.ts";

afterEach(() => vi.unstubAllEnvs());

test("a merge whose process cannot be started fails, and nothing more", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "layer.qcow2");
  await createEmpty({ path, sizeBytes: 2 ** 20 });
  vi.stubEnv("PATH", folder.path);
  const merge: OfflineMerge = {
    ...{ root: folder.path, processUid: null, base: null },
    chain: [{ id: "layer", path, format: "qcow2" }],
  };
  const control = { signal: AbortSignal.timeout(10_000), progress: () => undefined, bytesPerSecond: 0 };
  await expect(pullUpOffline(merge, control)).rejects.toThrow();
});
