import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { eventually } from "#libs/testing";
import { isServing } from "../harness/serving.ts";
import type { SupervisedProcess } from "../harness/supervised-process.ts";
import type { FaultRun } from "./fault-run.ts";
import type { ReplicaStage } from "./replica-stage.ts";

const run = promisify(execFile);
/** OPERATION_TTL_MS of the stage. */
const ttlMs = 1_000;

/** kill -9 of any of our processes whose work another one can do, and of agents, at any time. */
export async function killOne({ processes, peersOf, addressOf }: ReplicaStage, faults: FaultRun): Promise<void> {
  await sleep(faults.between(1_000, 2_000));
  const [name, process] = faults.pick([...processes]);
  // On a busy machine one takes longer to start than it is to the next kill.
  const isFree = async () => (await Promise.all(peersOf(name).map(isServing))).every((serves) => serves);
  await eventually(isFree, { deadlineMs: 60_000, everyMs: 50 });
  faults.fault("kill", name);
  const { deaths } = process;
  process.kill("SIGKILL");
  faults.recoversMeanwhile(name, async () => process.deaths > deaths && (await isServing(addressOf(name))));
}

interface Pausable {
  readonly name: string;
  signal(signal: NodeJS.Signals): void;
}

/** Pauses a process for two to three times the lease, and lets it go on: a zombie that believes that it still holds. */
export async function pauseOne({ cluster, processes }: ReplicaStage, faults: FaultRun, round: number): Promise<void> {
  const { nats, redis, hosts } = cluster;
  const ours: Pausable[] = [...processes].map(([name, process]) => ({ name, signal: (word) => process.kill(word) }));
  const kinds = [
    ours.filter(({ name }) => !hosts.has(name)),
    ours.filter(({ name }) => hosts.has(name)),
    [{ name: "redis", signal: (word: NodeJS.Signals) => redis.signal(word) }],
    [{ name: "nats", signal: (word: NodeJS.Signals) => nats.signal(word) }],
  ];
  await sleep(faults.between(200, 1_000));
  const one = faults.pick(kinds[round % kinds.length] ?? []);
  const ms = faults.between(2 * ttlMs, 3 * ttlMs);
  faults.fault("pause", `${one.name} for ${Math.round(ms)} ms`);
  one.signal("SIGSTOP");
  await sleep(ms);
  one.signal("SIGCONT");
}

/** Kills every process at once, the servers too, and starts them again in random order. */
export async function killAll({ cluster, processes }: ReplicaStage, faults: FaultRun): Promise<void> {
  const { nats, redis } = cluster;
  await sleep(faults.between(1_000, 2_000));
  faults.fault("kill all", "");
  for (const process of processes.values()) process.hold();
  for (const process of processes.values()) process.kill("SIGKILL");
  await Promise.all([nats.stop("SIGKILL"), redis.stop("SIGKILL")]);
  const starts: [string, () => unknown][] = [
    ["nats", () => nats.start()],
    ["redis", () => redis.start()],
    ...[...processes].map(([name, process]): [string, () => unknown] => [name, () => process.release()]),
  ];
  while (starts.length > 0) {
    const [name, start] = starts.splice(Math.floor(faults.random() * starts.length), 1)[0] ?? ["", () => undefined];
    faults.note(`start ${name}`);
    await start();
    await sleep(faults.between(0, 300));
  }
}

/** But for agents: guests have the limits of whoever starts them, and would rightly fail. */
const servicesOf = ({ processes, cluster }: ReplicaStage) =>
  [...processes].filter(([name]) => !cluster.hosts.has(name));

/** Lets a service open no more files for a while, then gives it back what it had. */
export async function starveOfFiles(stage: ReplicaStage, faults: FaultRun): Promise<void> {
  await sleep(faults.between(500, 1_000));
  const [name, process] = faults.pick(servicesOf(stage));
  faults.fault("no files", name);
  const { stdout } = await run("prlimit", ["--pid", `${process.pid}`, "--nofile", "--noheadings", "--output", "SOFT"]);
  await limit(process, "--nofile", "24:");
  await sleep(faults.between(2 * ttlMs, 3 * ttlMs));
  await limit(process, "--nofile", `${stdout.trim()}:`);
}

/** Lets a service have no more memory than it has: it dies of that. */
export async function starveOfMemory(stage: ReplicaStage, faults: FaultRun): Promise<void> {
  await sleep(faults.between(500, 1_000));
  const [name, process] = faults.pick(servicesOf(stage));
  const { deaths } = process;
  faults.fault("no memory", name);
  const status = await readFile(`/proc/${process.pid}/status`, "utf8").catch(() => "");
  const kibibytes = Number(/^VmData:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  await limit(process, "--data", `${kibibytes * 1024}:`);
  // What is idle needs no memory, and lives on.
  await process.untilDead(deaths, 5_000).catch(() => limit(process, "--data", "unlimited:"));
}

/** A process that is dead by now has no limits. */
async function limit({ pid }: SupervisedProcess, which: string, to: string): Promise<void> {
  await run("prlimit", ["--pid", `${pid}`, `${which}=${to}`]).catch(() => undefined);
}
