import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { eventually } from "./eventually.ts";
import { loopback, type Place } from "./place.ts";
import { startServer, type TestServer } from "./test-server.ts";

/** Three nodes of nats-server with JetStream. */
export interface NatsCluster extends AsyncDisposable {
  readonly nodes: readonly TestServer[];
  /** All nodes, for NATS_URL. */
  readonly url: string;
  /** All nodes, for NATS_MONITOR_URL. */
  readonly monitorUrl: string;
  /** The node that leads the stream now; undefined while none does. */
  leaderOf(stream: string): Promise<TestServer | undefined>;
  /** What each node itself has of the stream: equal when nothing is written and all is well. */
  statesOf(stream: string): Promise<readonly StreamState[]>;
  /** How each node finds itself, by its own health check. */
  health(): Promise<readonly boolean[]>;
  /** Waits until all nodes have all that is stored. */
  untilWhole(deadlineMs?: number): Promise<void>;
}

interface StreamState {
  readonly messages: number;
  readonly bytes: number;
  readonly first_seq: number;
  readonly last_seq: number;
}

interface Node {
  readonly name: string;
  readonly place: Place;
  readonly port: number;
  readonly routePort: number;
  readonly monitorPort: number;
  /** Where its data is; in its own folder if unsaid. */
  readonly data: string | undefined;
}

/**
 * Each in its place, all on the loopback if unsaid; every write is synced by most of them before it is acknowledged.
 *
 * @param data where the data of the first is, of the second and so on; each in a folder of its own if unsaid
 */
export async function startNatsCluster(
  places: readonly Place[] = [loopback, loopback, loopback],
  data: readonly string[] = [],
): Promise<NatsCluster> {
  await using stack = new AsyncDisposableStack();
  const plan: Node[] = [];
  for (const [index, place] of places.entries()) {
    const [port, routePort, monitorPort] = [await place.freePort(), await place.freePort(), await place.freePort()];
    plan.push({ name: `nats-${index + 1}`, place, port, routePort, monitorPort, data: data[index] });
  }
  const nodes = await Promise.all(plan.map((node) => startNode(node, plan)));
  for (const node of nodes) stack.use(node);
  const monitors = plan.map(({ place, monitorPort }) => `http://${place.address}:${monitorPort}`);
  const health = () => Promise.all(monitors.map(isHealthy));
  while (!(await countEachOther(monitors))) await startAnew(nodes, plan);
  const owned = stack.move();
  return {
    nodes,
    url: nodes.map(({ url }) => url).join(","),
    monitorUrl: monitors.join(","),
    health,
    untilWhole: (deadlineMs) => untilHealthy(monitors, deadlineMs),
    async leaderOf(stream) {
      const asked = monitors.map((monitor) => streamBy(monitor, stream).catch(() => undefined));
      const leaders = (await Promise.all(asked)).map((answer) => answer?.cluster?.leader);
      return nodes[plan.findIndex(({ name }) => leaders.includes(name))];
    },
    async statesOf(stream) {
      const answers = await Promise.all(monitors.map((monitor) => streamBy(monitor, stream)));
      return answers.map((answer) => {
        if (answer === undefined) throw new Error(`a node does not know of ${stream}`);
        const { messages, bytes, first_seq, last_seq } = answer.state;
        return { messages, bytes, first_seq, last_seq };
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Whatever room there is. */
const mayKeep = "max_file_store: 16GB";

function startNode(node: Node, all: readonly Node[]): Promise<TestServer> {
  const { name, place, port, routePort, monitorPort, data } = node;
  const routes = all.filter((it) => it !== node).map((it) => `"nats-route://${it.place.address}:${it.routePort}"`);
  const command = async (_: number, folder: string) => {
    const file = join(folder, "nats.conf");
    const text = [
      `server_name: ${name}`,
      `listen: "${place.address}:${port}"`,
      `http: "${place.address}:${monitorPort}"`,
      `cluster { name: test, listen: "${place.address}:${routePort}", routes: [${routes.join(", ")}] }`,
      `jetstream { store_dir: ${JSON.stringify(join(data ?? folder, "jetstream"))}, sync_interval: always, ${mayKeep} }`,
    ];
    await writeFile(file, `${text.join("\n")}\n`);
    return ["nats-server", "--config", file];
  };
  return startServer("nats", command, { place, port });
}

async function untilHealthy(monitors: readonly string[], deadlineMs = 60_000): Promise<void> {
  const areHealthy = async () => (await Promise.all(monitors.map(isHealthy))).every(Boolean);
  await eventually(areHealthy, { deadlineMs, everyMs: 100 }).catch(async (cause: unknown) => {
    const said = await Promise.all(monitors.map((monitor) => ask(`${monitor}/healthz`).catch(String)));
    throw new Error(`a node does not find itself healthy: ${JSON.stringify(said)}`, { cause });
  });
}

/**
 * Whether each node counts all of them, once they are healthy. Two that start may begin without the third, and never
 * place a stream on it (nats-server 2.10.27, one time out of thirty; routes that name all three, or a restart of the
 * third, change nothing).
 *
 * @param monitors where each node answers over HTTP
 */
export async function countEachOther(monitors: readonly string[]): Promise<boolean> {
  await untilHealthy(monitors);
  const isCounted = async (monitor: string) => {
    const { body } = await ask(`${monitor}/jsz`);
    return (body as { meta_cluster?: { cluster_size?: number } }).meta_cluster?.cluster_size === monitors.length;
  };
  const areAll = async () => (await Promise.all(monitors.map(isCounted))).every(Boolean);
  return await eventually(areAll, { deadlineMs: 2_000 }).catch(() => false);
}

/** There is nothing in it yet. */
async function startAnew(nodes: readonly TestServer[], plan: readonly Node[]): Promise<void> {
  for (const [index, node] of nodes.entries()) {
    await node.stop();
    await rm(join(plan[index]?.data ?? node.folder, "jetstream"), { recursive: true, force: true });
  }
  await Promise.all(nodes.map((node) => node.start()));
}

async function ask(url: string): Promise<{ status: number | undefined; body: unknown }> {
  const request = get(url, { agent: false, signal: AbortSignal.timeout(2_000) });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return { status: response.statusCode, body: await json(response) };
}

const isHealthy = (monitor: string): Promise<boolean> =>
  ask(`${monitor}/healthz`).then(
    ({ status }) => status === 200,
    () => false,
  );

interface StreamDetail {
  readonly name: string;
  readonly cluster?: { readonly leader?: string };
  readonly state: StreamState;
}

interface Streams {
  readonly account_details?: readonly { readonly stream_detail?: readonly StreamDetail[] }[];
}

async function streamBy(monitor: string, stream: string): Promise<StreamDetail | undefined> {
  const { body } = await ask(`${monitor}/jsz?streams=1`);
  const found = (body as Streams).account_details?.flatMap(({ stream_detail = [] }) => stream_detail);
  return found?.find(({ name }) => name === stream);
}
