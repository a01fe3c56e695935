import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, startServer, type TestServer } from "#libs/testing";
import { writeConfiguration } from "./deployed-servers.ts";

export interface DeployedNats extends AsyncDisposable {
  readonly server: TestServer;
  readonly monitorUrl: string;
  /** What deploy/prepare.sh has written into a file, where the server is here. */
  urlIn(...path: string[]): Promise<string>;
}

/** A single node of NATS with the configuration of deploy/, on the loopback. `state`: folder of deploy/prepare.sh. */
export async function startDeployedNats(state: string): Promise<DeployedNats> {
  const monitorPort = await freePort();
  const server = await startServer("tls", async (port, folder) => {
    const file = await writeConfiguration(join(state, "nats"), folder, ["deploy/nats/nats.conf"]);
    const text = await readFile(file, "utf8");
    await writeFile(
      file,
      text.replace("0.0.0.0:4222", `127.0.0.1:${port}`).replace("0.0.0.0:8222", `127.0.0.1:${monitorPort}`),
    );
    return ["nats-server", "--config", file];
  });
  return {
    server,
    monitorUrl: `http://127.0.0.1:${monitorPort}`,
    urlIn: async (...path) => {
      const url = (await readFile(join(state, ...path), "utf8")).trim();
      return url.replace(/[^/@]+:4222$/, `127.0.0.1:${server.port}`);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
