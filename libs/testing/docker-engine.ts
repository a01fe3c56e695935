import { once } from "node:events";
import { connect, createServer } from "node:net";
import { text } from "node:stream/consumers";
import type Dockerode from "dockerode";
import { type OwnDockerd, startDockerd } from "./own-dockerd.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** A real Docker engine. What a test makes there it removes, but for images: they are a cache. */
export interface TestEngine extends AsyncDisposable {
  readonly docker: Dockerode;
  readonly socketPath: string;
}

/**
 * The engine at `DOCKER_HOST` or `/var/run/docker.sock` when one answers there. Else a dockerd that we start, which
 * needs root: in a run of tests one for all of them, which ends with the run; otherwise one that ends when it is
 * disposed of.
 */
export async function dockerEngine(): Promise<TestEngine> {
  const found = await runningEngine();
  if (found !== undefined) return found;
  const offer = process.env.STILLPOINT_TEST_DOCKER;
  if (offer !== undefined) return await engineAt(await askFor(offer));
  const folder = temporaryFolder();
  const own = await startDockerd(folder.path);
  return {
    docker: own.docker,
    socketPath: own.socketPath,
    [Symbol.asyncDispose]: async () => {
      await own[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The engine that was there before us; undefined if none answers. */
export async function runningEngine(): Promise<TestEngine | undefined> {
  const host = process.env.DOCKER_HOST;
  const candidates = [...(host?.startsWith("unix://") ? [host.slice("unix://".length)] : []), "/var/run/docker.sock"];
  for (const socketPath of candidates) {
    const engine = await engineAt(socketPath);
    const answers = await engine.docker.ping().then(
      () => true,
      () => false,
    );
    if (answers) return engine;
  }
  return undefined;
}

async function engineAt(socketPath: string): Promise<TestEngine> {
  const { default: Docker } = await import("dockerode");
  return { docker: new Docker({ socketPath }), socketPath, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** An engine that starts when the first test of a run asks for it. */
export interface OfferedEngine {
  /** Where the run's tests ask: the value of `STILLPOINT_TEST_DOCKER`. */
  readonly address: string;
  /** Ends it if it was started. Gives what the tests have left there, one line each. */
  end(): Promise<string[]>;
}

/** Offers an engine to the workers of a test run, from the process that outlives them. @param folder is made and left */
export async function offerEngine(folder: string): Promise<OfferedEngine> {
  let started: Promise<OwnDockerd> | undefined;
  const address = `${folder}.sock`;
  const server = createServer((socket) => {
    started ??= startDockerd(folder);
    void started
      .then(
        ({ socketPath }) => ({ socketPath }),
        (error: unknown) => ({ error: String(error) }),
      )
      .then((answer) => socket.end(JSON.stringify(answer)));
  }).listen(address);
  await once(server, "listening");
  server.unref();
  return {
    address,
    end: async () => {
      server.close();
      const own = await started?.catch(() => undefined);
      if (own === undefined) return [];
      const left = await engineLeftovers(own.docker);
      await own[Symbol.asyncDispose]();
      return left;
    },
  };
}

async function askFor(offer: string): Promise<string> {
  const answer = JSON.parse(await text(connect(offer))) as { socketPath?: string; error?: string };
  if (answer.socketPath === undefined) throw new Error(answer.error);
  return answer.socketPath;
}

/**
 * Containers, networks and volumes in an engine, one line each.
 * @param mark only those whose description has this text somewhere: a folder that they mount, a label; all if unsaid
 */
export async function engineLeftovers(docker: Dockerode, mark = ""): Promise<string[]> {
  const containers = await docker.listContainers({ all: true });
  const networks = (await docker.listNetworks()).filter(({ Name }) => !["bridge", "host", "none"].includes(Name));
  const { Volumes } = await docker.listVolumes();
  const all = [
    ...containers.map((container) => ["container", container.Names.join(" "), container] as const),
    ...networks.map((network) => ["network", network.Name, network] as const),
    ...(Volumes ?? []).map((volume) => ["volume", volume.Name, volume] as const),
  ];
  return all
    .filter(([, , description]) => JSON.stringify(description).includes(mark))
    .map(([kind, name]) => `${kind} ${name}`);
}
