/**
 * Begins and ends a run of tests. The run has a temporary folder of its own, and fails when that is not empty at the
 * end or a process is left that works there: QEMU, servers, guards, services. Runs at the same time have others.
 * It has a Docker engine too, if one is asked for and none is there; what is left in either fails the run.
 */
import { mkdtempSync, rmdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  assertNothingLeft,
  engineLeftovers,
  eventually,
  type OfferedEngine,
  offerEngine,
  runningEngine,
} from "#libs/testing";
import { cacheFolder } from "./guest/build.ts";

let offered: OfferedEngine;
let engineFolder: string;

export async function setup(): Promise<void> {
  // As bin/stillpoint does: services are started hundreds of times, and compiled once.
  process.env.NODE_COMPILE_CACHE ??= join(cacheFolder(), "node");
  engineFolder = mkdtempSync(join(tmpdir(), "stillpoint-engine-"));
  offered = await offerEngine(join(engineFolder, "dockerd"));
  process.env.STILLPOINT_TEST_DOCKER = offered.address;
  process.env.TMPDIR = mkdtempSync(join(tmpdir(), "stillpoint-run-"));
}

export async function teardown(): Promise<void> {
  const folder = tmpdir();
  const inOwnEngine = await offered.end();
  await rm(engineFolder, { recursive: true, force: true, maxRetries: 3 });
  await using engine = await runningEngine();
  await eventually(
    async () => {
      assertNothingLeft(`${folder}/`);
      const left = engine === undefined ? inOwnEngine : await engineLeftovers(engine.docker, folder);
      if (left.length > 0) throw new Error(`the tests left in the Docker engine:\n${left.join("\n")}`);
      return true;
    },
    { deadlineMs: 10_000, everyMs: 200 },
  );
  rmdirSync(folder);
}
