import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { accepts, countEachOther, eventually } from "#libs/testing";
import { repository } from "./command.ts";
import type { Machine, Network } from "./network.ts";
import type { SupervisedProcess } from "./supervised-process.ts";

export const natsNodes = ["nats", "nats-2", "nats-3"] as const;
export const redisNodes = ["redis", "redis-2", "redis-3"] as const;
export const sentinelNodes = ["sentinel-1", "sentinel-2", "sentinel-3"] as const;

interface ServersDeps {
  readonly network: Network;
  /** Folder of deploy/prepare.sh. */
  readonly state: string;
  run(name: string, machine: Machine, program: { readonly argv: readonly string[] }): SupervisedProcess;
}

/** NATS and Redis with the configurations of deploy/, whose folders are others here than in containers. */
export class DeployedServers {
  readonly #deps: ServersDeps;

  constructor(deps: ServersDeps) {
    this.#deps = deps;
  }

  /** Resolves when all of them listen. Their data is below `folder`. */
  async start(folder: string): Promise<void> {
    const nats: SupervisedProcess[] = [];
    for (const node of natsNodes) {
      const config = await this.#configure(folder, node, ["deploy/nats/nats.conf"]);
      nats.push(this.#run(node, ["nats-server", "--config", config]));
    }
    for (const node of redisNodes) {
      this.#run(node, ["redis-server", await this.#configure(folder, node, ["deploy/redis/redis.conf", "node.conf"])]);
    }
    await this.#untilListening([
      ...natsNodes.map((node) => [node, 4222] as const),
      ...redisNodes.map((node) => [node, 6379] as const),
    ]);
    const monitors = natsNodes.map((node) => `http://${this.#deps.network.machine(node).address}:8222`);
    while (!(await countEachOther(monitors))) await startAnew(nats, folder);
    for (const node of sentinelNodes) {
      this.#run(node, ["redis-server", await this.#configure(folder, node, ["node.conf"]), "--sentinel"]);
    }
    await this.#untilListening(sentinelNodes.map((node) => [node, 26_379] as const));
  }

  #run(node: string, argv: readonly string[]): SupervisedProcess {
    return this.#deps.run(node, this.#deps.network.machine(node), { argv });
  }

  async #configure(folder: string, node: string, parts: readonly string[]): Promise<string> {
    const data = join(folder, `${node}-data`);
    await mkdir(data, { mode: 0o700 });
    return await writeConfiguration(join(this.#deps.state, node), data, parts);
  }

  async #untilListening(all: readonly (readonly [string, number])[]): Promise<void> {
    for (const [node, port] of all) {
      await eventually(() => accepts(port, this.#deps.network.machine(node).address), { deadlineMs: 20_000 });
    }
  }
}

/** There is nothing in it yet. */
async function startAnew(nats: readonly SupervisedProcess[], folder: string): Promise<void> {
  for (const [index, node] of nats.entries()) {
    node.hold();
    node.kill("SIGKILL");
    await eventually(() => !node.isAlive);
    await rm(join(folder, `${natsNodes[index]}-data`, "clustered"), { recursive: true, force: true });
  }
  for (const node of nats) node.release();
}

/**
 * The parts as one file in the folder of the data, which the server may write. `own`: what deploy/prepare.sh made for
 * the node, node.conf among it.
 */
export async function writeConfiguration(own: string, data: string, parts: readonly string[]): Promise<string> {
  const texts = parts.map((part) => readFile(join(part.startsWith("deploy/") ? repository : own, part), "utf8"));
  const adapt = (text: string) =>
    text
      .replaceAll(/^include "[^"]*\/run\/stillpoint\/node.conf"$/gm, 'include "node.conf"')
      .replaceAll(/^include "[^"]*\/run\/stillpoint\/users.conf"$/gm, `include "${relativeTo(data, own)}/users.conf"`)
      .replaceAll("/run/stillpoint/", `${own}/`)
      .replaceAll(/(?<= )\/data\b/g, data);
  await writeFile(join(data, "node.conf"), adapt(await readFile(join(own, "node.conf"), "utf8")), { mode: 0o600 });
  const file = join(data, "server.conf");
  await writeFile(file, adapt((await Promise.all(texts)).join("\n")), { mode: 0o600 });
  return file;
}

/** nats-server includes only what is named from where the file is. */
function relativeTo(from: string, to: string): string {
  return `${from
    .split("/")
    .filter((part) => part !== "")
    .map(() => "..")
    .join("/")}${to}`;
}
