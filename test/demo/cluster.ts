/**
 * Three nodes of NATS, Redis with sentinels, two replicas of every service and three hosts on this machine, each with an
 * address of its own, and the main job there: `make cluster`. It needs root. With --keep it stays until Ctrl-C.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { runningEngine, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../guest/build.ts";
import { type DeployedCluster, startDeployedCluster } from "../harness/deployed-cluster.ts";
import { natsNodes } from "../harness/deployed-servers.ts";
import { whyNoNetwork } from "../harness/network.ts";
import { bringBackContainer } from "./container-story.ts";
import { bringBackDatabase } from "./database-story.ts";
import { Report } from "./report.ts";

const hosts = ["n1", "n2", "n3"];
const keep = process.argv.includes("--keep");
const interruption = new AbortController();
const interrupted = Promise.withResolvers<never>();
interrupted.promise.catch(() => undefined);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    const why = new Error(`interrupted by ${signal}; everything is cleaned up`);
    interruption.abort(why);
    interrupted.reject(why);
  });
}
const startedMs = performance.now();
const say = (what: string) => {
  console.log(`cluster: ${((performance.now() - startedMs) / 1_000).toFixed(0).padStart(3)} s  ${what}`);
};

async function run(): Promise<void> {
  const missing = await whyNoNetwork();
  if (missing !== undefined) throw new Error(`${missing}: run it as root, after deploy/setup.sh tests`);
  const guest = await buildGuest();
  await using folder = temporaryFolder();
  say(`everything is in ${folder.path}`);
  await using engine = await runningEngine();
  if (engine === undefined) say("no Docker engine answers: there will be no containers");
  const options = { folder: folder.path, hosts, say, signal: interruption.signal, engineSocket: engine?.socketPath };
  await using cluster = await startDeployedCluster(options);
  say(howToReach(cluster));
  const report = new Report();
  await Promise.race([bringBackDatabase(cluster, guest, report), interrupted.promise]);
  if (engine) await Promise.race([bringBackContainer(cluster, engine, report), interrupted.promise]);
  report.print();
  await nobodyWasRefused(folder.path);
  if (keep) {
    say(`it stays until Ctrl-C.\n${howToReach(cluster)}`);
    await interrupted.promise.catch(() => undefined);
  }
  say("ending everything");
}

/** Nobody wanted what its rights in NATS do not give. */
async function nobodyWasRefused(folder: string): Promise<void> {
  for (const node of natsNodes) {
    const refusals = (await readFile(join(folder, `${node}.log`), "utf8"))
      .split("\n")
      .filter((line) => line.includes("Violation"));
    if (refusals.length > 0) throw new Error(`NATS refused what somebody needs:\n${refusals.join("\n")}`);
  }
}

function howToReach({ env }: DeployedCluster): string {
  const lines = Object.entries(env).map(([name, value]) => `  export ${name}=${value}`);
  return ["to reach it, in another terminal:", ...lines, "  bin/stillpoint host list"].join("\n");
}

try {
  await run();
  console.log("\ncluster: passed");
} catch (error) {
  console.error(`\ncluster: failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
process.exit();
