import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { accepts, eventually } from "#libs/testing";
import { repository } from "./command.ts";
import type { Machine, Network } from "./network.ts";

export const natsNodes = ["nats", "nats-2", "nats-3"] as const;
export const redisNodes = ["redis", "redis-2", "redis-3"] as const;
export const sentinelNodes = ["sentinel-1", "sentinel-2", "sentinel-3"] as const;

interface ServersDeps {
  readonly network: Network;
  /** Folder of deploy/prepare.sh. */
  readonly state: string;
  run(name: string, machine: Machine, program: { readonly argv: readonly string[] }): void;
}

/** NATS and Redis with the configurations of deploy/, whose folders are others here than in containers. */
export class DeployedServers {
  readonly #deps: ServersDeps;

  constructor(deps: ServersDeps) {
    this.#deps = deps;
  }

  /** Resolves when all of them listen. Their data is below `folder`. */
  async start(folder: string): Promise<void> {
    for (const node of natsNodes) {
      const config = await this.#configure(folder, node, ["deploy/nats/nats.conf"]);
      this.#run(node, ["nats-server", "--config", config]);
    }
    for (const node of redisNodes) {
      this.#run(node, ["redis-server", await this.#configure(folder, node, ["deploy/redis/redis.conf", "node.conf"])]);
    }
    await this.#untilListening([
      ...natsNodes.map((node) => [node, 4222] as const),
      ...redisNodes.map((node) => [node, 6379] as const),
    ]);
    for (const node of sentinelNodes) {
      this.#run(node, ["redis-server", await this.#configure(folder, node, ["node.conf"]), "--sentinel"]);
    }
    await this.#untilListening(sentinelNodes.map((node) => [node, 26_379] as const));
  }

  #run(node: string, argv: readonly string[]): void {
    this.#deps.run(node, this.#deps.network.machine(node), { argv });
  }

  /** The parts as one file, which the server may write; node.conf is what deploy/prepare.sh made for the node. */
  async #configure(folder: string, node: string, parts: readonly string[]): Promise<string> {
    const own = join(this.#deps.state, node);
    const data = join(folder, `${node}-data`);
    await mkdir(data, { mode: 0o700 });
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

  async #untilListening(all: readonly (readonly [string, number])[]): Promise<void> {
    for (const [node, port] of all) {
      await eventually(() => accepts(port, this.#deps.network.machine(node).address), { deadlineMs: 20_000 });
    }
  }
}

/** nats-server includes only what is named from where the file is. */
function relativeTo(from: string, to: string): string {
  return `${from
    .split("/")
    .filter((part) => part !== "")
    .map(() => "..")
    .join("/")}${to}`;
}
