/**
 * Begins and ends a run of tests. The run has a temporary folder of its own, and fails when that is not empty at the
 * end or a process is left that works there: QEMU, servers, guards, services. Runs at the same time have others.
 * It has a Docker engine too, if one is asked for and none is there; what is left in either fails the run. What runs
 * before it have left, as they were killed, is named when it begins. At its end it tells what faults were made.
 */
import { mkdtempSync, rmdirSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  assertNothingLeft,
  engineLeftovers,
  eventually,
  leftByDeadRuns,
  type OfferedEngine,
  offerEngine,
  runningEngine,
  runPrefix,
} from "#libs/testing";
import { conclude, newReport } from "./faults/fault-report.ts";
import { cacheFolder } from "./guest/build.ts";

let offered: OfferedEngine;
let engineFolder: string;
/** Of the faults of this run, unless a run of several has one. */
let ownReport: string | undefined;

export async function setup(): Promise<void> {
  // As bin/stillpoint does: services are started hundreds of times, and compiled once.
  process.env.NODE_COMPILE_CACHE ??= join(cacheFolder(), "node");
  const left = leftByDeadRuns();
  if (left.length > 0) console.warn(`runs of tests that were killed have left behind:\n${left.join("\n")}`);
  engineFolder = mkdtempSync(join(tmpdir(), "stillpoint-engine-"));
  offered = await offerEngine(join(engineFolder, "dockerd"));
  process.env.STILLPOINT_TEST_DOCKER = offered.address;
  process.env.TMPDIR = mkdtempSync(join(tmpdir(), runPrefix()));
  if (process.env.STILLPOINT_FAULT_REPORT === undefined) {
    ownReport = newReport();
    process.env.STILLPOINT_FAULT_REPORT = ownReport;
  }
}

export async function teardown(): Promise<void> {
  if (ownReport !== undefined) conclude(ownReport);
  const folder = tmpdir();
  const inOwnEngine = await offered.end();
  await rm(engineFolder, { recursive: true, force: true, maxRetries: 3 });
  await using engine = await runningEngine();
  const check = async () => {
    assertNothingLeft(`${folder}/`);
    const left = engine === undefined ? inOwnEngine : await engineLeftovers(engine.docker, folder);
    if (left.length > 0) throw new Error(`the tests left in the Docker engine:\n${left.join("\n")}`);
    return true;
  };
  await eventually(check, { deadlineMs: 10_000, everyMs: 200 }).catch((error: Error) => {
    const { CI_RESULTS } = process.env;
    if (CI_RESULTS !== undefined) writeFileSync(join(CI_RESULTS, "leftovers"), `${error.message}\n`);
    throw error;
  });
  rmdirSync(folder);
}
