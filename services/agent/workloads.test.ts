import { access, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { silentLogger } from "#libs/logger";
import { temporaryFolder } from "#libs/testing";
import type { Manifest } from "./manifest.ts";
import { vmDefinition } from "./testing/test-host.ts";
import { dataFolder, workloadFolder } from "./workload-folder.ts";
import { Workloads } from "./workloads.ts";

test("a workload whose files are damaged is not known, one that was never made whole does not count", async () => {
  await using folder = temporaryFolder();
  const data = dataFolder(folder.path);
  const deps = { logger: silentLogger, reserve: { spend: (write: () => Promise<void>) => write() }, observe: () => {} };
  const workloads = await Workloads.open(data, deps);
  const [whole, begun] = [vmDefinition("guest@sha256:00"), vmDefinition("")];
  const manifest: Manifest = {
    ...{ version: 1, uid: whole.uid, owner: { operation: "op", epoch: 1 }, machineType: "q35", generationId: "" },
    ...{ processUid: null, power: "off", disks: {}, layers: {}, checkpoints: {}, head: null, pending: null },
  };
  await workloads.add(whole, manifest);
  await mkdir(workloadFolder(data, begun.uid).root);
  const again = await Workloads.open(data, deps);
  expect([again.areAllKnown, again.list().length]).toEqual([true, 1]);

  const { manifest: path } = workloadFolder(data, whole.uid);
  await writeFile(path, (await readFile(path, "utf8")).replace("op", "xx"));
  const damaged = await Workloads.open(data, deps);
  expect([damaged.areAllKnown, damaged.list().length]).toEqual([false, 0]);
  await damaged.remove(whole.uid);
  expect(damaged.areAllKnown).toBe(true);
});

test("what a kill left of a write goes at the next start, and nothing that users may have written", async () => {
  await using folder = temporaryFolder();
  const data = dataFolder(folder.path);
  const deps = { logger: silentLogger, reserve: { spend: (write: () => Promise<void>) => write() }, observe: () => {} };
  await Workloads.open(data, deps);
  const [own, users] = [join(data.root, "kept"), join(data.containers, "ctr-1", "checkpoints", "c", "volume")];
  for (const path of [own, users]) {
    await mkdir(path, { recursive: true });
    for (const name of ["a.json", "a.json.tmp"]) await writeFile(join(path, name), "{}");
  }
  await writeFile(join(data.containers, "ctr-1", "manifest.json.tmp"), "{");
  await Workloads.open(data, deps);
  expect(await readdir(own)).toEqual(["a.json"]);
  expect((await readdir(users)).sort()).toEqual(["a.json", "a.json.tmp"]);
  await expect(access(join(data.containers, "ctr-1", "manifest.json.tmp"))).rejects.toThrow("ENOENT");
});
