import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { type Container, ContainerSpec, ContainerState } from "#contracts/container/v1/container";
import { closeRpcClients } from "#libs/rpc";
import { dockerEngine, type TestEngine } from "#libs/testing";
import { connectContainers } from "../harness/container-client.ts";
import { type Product, startProduct } from "../harness/product.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { type BenchmarkResult, median, timed } from "./benchmark.ts";
import { startCpuMeter } from "./cpu-meter.ts";

const run = promisify(execFile);
const pairs = 21;
const rounds = 12;
const atOnce = 20;
const parent = "projects/default";
const command = ["sleep", "1000"];
/** Of these a small host takes as many as run at once. */
const limits = { cpuMillis: 400, memoryBytes: 64 * 2 ** 20, pids: 1_024 };
const network = "stillpoint-bench";
/** What each of ours is given, said to `docker run`: "alike" below. */
const sameKind = [
  ...["--network", network, "--init", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.4"],
  ...["--pids-limit", "1024", "--security-opt", "no-new-privileges", "--cgroupns", "private"],
];

/** `container run` on a connected client until the watch says that it runs, against `docker run -d` of the same image. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using engine = await dockerEngine();
  await using product = await startProduct({ AGENT_DOCKER_HOST: `unix://${engine.socketPath}` });
  const image = await pushImage(engine, await busyboxImage(engine), new URL(product.registryUrl).host, "busybox");
  await using _network = await makeNetwork(engine);
  const bare = bareDocker(engine, image);
  await using ours = openOurs(product);
  const ways = { ours: ours.run, bare: bare.run, alike: bare.runAlike };
  const alone = await inTurn(ways, 1, pairs);
  const together = await inTurn(ways, atOnce, rounds);
  const cpu = await cpuOf(product, ours.run);
  return {
    metrics: {
      run_ratio: median(alone.ours) / median(alone.bare),
      run_ratio_same_kind: median(alone.ours) / median(alone.alike),
      parallel_ratio: median(together.ours) / median(together.bare),
      cpu_ms_per_container: cpu,
      parallel_ratio_same_kind: median(together.ours) / median(together.alike),
      run_ms: median(alone.ours),
      run_slowest_ms: Math.max(...alone.ours),
      parallel_ms: median(together.ours),
    },
    baseline: {
      run_ms: median(alone.bare),
      run_slowest_ms: Math.max(...alone.bare),
      parallel_ms: median(together.bare),
    },
  };
}

/** Milliseconds until so many containers run, begun at once. */
type Way = (count: number) => Promise<number>;

/** The ways warm up once, and run in turns of either order: what one leaves to clear away costs the next. */
async function inTurn<Name extends string>(ways: Record<Name, Way>, count: number, times: number) {
  const names = Object.keys(ways) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>;
  for (const name of names) await ways[name](count);
  for (let time = 1; time <= times; time++) {
    for (const name of time % 2 === 0 ? names.toReversed() : names) samples[name].push(await ways[name](count));
    const shown = Object.entries<number[]>(samples).map(([name, all]) => `${name} ${all.at(-1)?.toFixed(0)} ms`);
    console.log(`${count} at once, ${time} of ${times}: ${shown.join(", ")}`);
  }
  return samples;
}

/** What Stillpoint itself takes for one container, made, seen to run and removed, of `atOnce` at once: its process with its servers. */
async function cpuOf(product: Product, ours: Way): Promise<number> {
  const children = await readFile(`/proc/${product.pid}/task/${product.pid}/children`, "utf8");
  const servers = children.trim().split(" ").map(Number);
  const meter = await startCpuMeter([["stillpoint", product.pid], ...servers.map((pid) => ["servers", pid] as const)]);
  await ours(atOnce);
  const { stillpoint = 0, servers: theirs = 0 } = await meter.read();
  console.log(`milliseconds of CPU: stillpoint ${stillpoint / atOnce}, its servers ${theirs / atOnce}`);
  return (stillpoint + theirs) / atOnce;
}

async function makeNetwork({ docker }: TestEngine): Promise<AsyncDisposable> {
  const made = await docker.createNetwork({ Name: network, Driver: "bridge" });
  return { [Symbol.asyncDispose]: () => made.remove() };
}

/** The Docker command line. */
function bareDocker({ socketPath, docker }: TestEngine, image: string) {
  const env = { ...process.env, DOCKER_HOST: `unix://${socketPath}` };
  const measure = async (options: string[], count: number): Promise<number> => {
    const started: string[] = [];
    const one = async () => {
      const { stdout } = await run("docker", ["run", "-d", ...options, image, ...command], { env });
      started.push(stdout.trim());
    };
    try {
      return await timed(() => Promise.all(Array.from({ length: count }, one)));
    } finally {
      await Promise.all(started.map((id) => docker.getContainer(id).remove({ force: true })));
    }
  };
  return {
    run: (count: number) => measure([], count),
    runAlike: (count: number) => measure(sameKind, count),
  };
}

/** Our API, with one watch for as long as it is measured. */
function openOurs(product: Product) {
  const client = connectContainers(product.address);
  const stop = new AbortController();
  const waiting = new Map<string, (container: Container) => void>();
  const watching = (async () => {
    for await (const { container } of client.containers.watchContainers({ parent }, { signal: stop.signal })) {
      if (container !== undefined) waiting.get(container.name)?.(container);
    }
  })().catch(() => undefined);
  const spec = ContainerSpec.fromPartial({ image: "busybox", command, limits });
  let last = 0;
  const one = async (containerId: string): Promise<void> => {
    const name = `${parent}/containers/${containerId}`;
    const runs = new Promise<void>((resolve, reject) => {
      waiting.set(name, ({ state, stateReason }) => {
        if (state === ContainerState.RUNNING) resolve();
        // Of one that could not be made the record goes, with its uid as the last word.
        const isGone = state === ContainerState.UNSPECIFIED || state === ContainerState.FAILED;
        if (isGone) reject(new Error(`${name} does not run: ${stateReason || "it could not be made"}`));
      });
    });
    await client.containers.createContainer({ parent, containerId, spec, start: true });
    await runs;
    waiting.delete(name);
  };
  const remove = async (name: string) =>
    client.done(client.containers.deleteContainer({ name: `${parent}/containers/${name}`, force: true }));
  return {
    run: async (count: number): Promise<number> => {
      const names = Array.from({ length: count }, () => `bench-${++last}`);
      const ms = await timed(() => Promise.all(names.map(one)));
      await Promise.all(names.map(remove));
      return ms;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await watching;
      client[Symbol.dispose]();
      await closeRpcClients();
    },
  };
}
