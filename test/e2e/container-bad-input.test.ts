import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ContainerSpec } from "#contracts/container/v1/container";
import type { OperationError } from "#contracts/operation/v1/operation";
import { isStillpointError } from "#libs/errors";
import { dockerEngine, engineLeftovers, eventually, type TestEngine } from "#libs/testing";
import { type ContainerClient, connectContainers } from "../harness/container-client.ts";
import { type Product, startTestProduct } from "../harness/product.ts";
import { type RegistryProxy, startRegistryProxy } from "../harness/registry-proxy.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { smallImage } from "../images/small-image.ts";

const mebibyte = 2 ** 20;
const volume = { volume: "a", path: "/a", readOnly: false, excludeFromCheckpoints: false, hostPath: "" };
const ofHost = (hostPath: string) => ({ ...volume, volume: "", hostPath });
const limits = { cpuMillis: 100, memoryBytes: 16 * mebibyte, pids: 0 };

type Case = readonly [what: string, spec: Partial<ContainerSpec>, reason: string, says: RegExp];

/** Refused before or while it is made, each with its reason, in words that help, and without a trace. */
const cases: readonly Case[] = [
  ["a repository that is not there", { image: "nothing:1" }, "IMAGE_NOT_FOUND", /no image nothing:1/],
  ["a digest that is not there", { image: `busybox@sha256:${"0".repeat(64)}` }, "IMAGE_NOT_FOUND", /no image busybox@/],
  ["another architecture", { image: "foreign" }, "IMAGE_ARCHITECTURE", /is for arm64, and this host is amd64/],
  [
    "an entrypoint that the image lacks",
    { image: "gone", command: [] },
    "COMMAND_NOT_FOUND",
    /\/gone is not a program/,
  ],
  ["an image that names no program", { image: "silent", command: [] }, "COMMAND_NOT_FOUND", /names no program/],
  ["no such command", { command: ["no-such-program"] }, "COMMAND_NOT_FOUND", /no-such-program is not a program/],
  ["a command that may not be run", { image: "gone", entrypoint: ["/plain"] }, "COMMAND_NOT_FOUND", /\/plain/],
  ["a folder for a command", { command: ["/etc"] }, "COMMAND_NOT_FOUND", /\/etc is not a program/],
  ["an unknown user", { user: "nobody2" }, "ARGUMENT_INVALID", /starting projects\/.*: its image has no user nobody2$/],
  ["an unknown group", { user: "0:nobodies" }, "ARGUMENT_INVALID", /its image has no group nobodies$/],
  ["a working folder that is a file", { workingDir: "/bin/busybox" }, "ARGUMENT_INVALID", /: \/bin\/busybox is a file/],
  ["a volume on a file", { volumes: [{ ...volume, path: "/bin/busybox" }] }, "ARGUMENT_INVALID", /busybox is a file/],
  ["two volumes at one path", { volumes: [volume, { ...volume, volume: "b" }] }, "ARGUMENT_INVALID", /\[1\]\.path/],
  ["the host's root", { volumes: [ofHost("/")] }, "OPTION_FORBIDDEN", /mounts none of its folders/],
  ["the engine's socket", { volumes: [ofHost("/var/run/docker.sock")] }, "OPTION_FORBIDDEN", /mounts none/],
  ["a capability", { addCapabilities: ["SYS_ADMIN"] }, "OPTION_FORBIDDEN", /does not allow the capability SYS_ADMIN/],
  ["a variable with NUL", { env: { A: "b\0c" } }, "ARGUMENT_INVALID", /NUL character in the value of A/],
  ["a huge variable", { env: { A: "x".repeat(2 ** 20) } }, "ARGUMENT_INVALID", /at most 512 variables of 65536 bytes/],
  [
    "limits below zero",
    { limits: { cpuMillis: -1, memoryBytes: -1, pids: -1 } },
    "ARGUMENT_INVALID",
    /cpu_millis.*pids/,
  ],
  ["more than any host has", { limits: { ...limits, memoryBytes: 2 ** 42 } }, "NO_HOST_FITS", /memory: needs 4096 GiB/],
  ["more CPUs than any host has", { limits: { ...limits, cpuMillis: 256_000 } }, "NO_HOST_FITS", /cpu: needs 256 cpus/],
  ["a host that is not there", { host: "hosts/nowhere" }, "NO_HOST_FITS", /is not hosts\/nowhere/],
];

describe("what cannot be is refused with a reason and what to do, and leaves nothing", () => {
  let engine: TestEngine;
  let proxy: RegistryProxy;
  let product: Product;
  let client: ContainerClient;
  let hostData = "";
  const resources = new AsyncDisposableStack();

  beforeAll(async () => {
    engine = resources.use(await dockerEngine());
    proxy = resources.use(await startRegistryProxy());
    product = resources.use(
      await startTestProduct({ AGENT_DOCKER_HOST: `unix://${engine.socketPath}`, REGISTRY_HTTP_URL: proxy.url }),
    );
    proxy.target = product.registryUrl;
    client = resources.use(connectContainers(product.address));
    hostData = (await readFile(join(product.folder, "data/host/host-uid"), "utf8")).trim();
    const busybox = await busyboxImage(engine);
    await push(busybox, "busybox");
    const copyPlain = ["FROM scratch", "COPY plain /"];
    for (const [name, image] of Object.entries({
      foreign: { dockerfile: copyPlain, files: { plain: "x" }, platform: "linux/arm64" },
      silent: { dockerfile: copyPlain, files: { plain: "x" } },
      gone: { dockerfile: [`FROM ${busybox}`, "COPY plain /", 'ENTRYPOINT ["/gone"]'], files: { plain: "x" } },
    })) {
      await using built = await smallImage(engine, name, image);
      await push(built.tag, name);
    }
  }, 120_000);
  afterAll(() => resources.disposeAsync());

  const push = (tag: string, repository: string) =>
    pushImage(engine, tag, new URL(product.registryUrl).host, repository);
  const asked = (spec: Partial<ContainerSpec>) =>
    ContainerSpec.fromPartial({ image: "busybox", command: ["sleep", "1000"], limits, ...spec });

  /** Why it was not made, whether at once or by its operation. */
  async function refusal(spec: Partial<ContainerSpec>, parent = "projects/default"): Promise<Partial<OperationError>> {
    const request = { parent, containerId: "wrong", spec: asked(spec), start: true };
    try {
      const { name } = await client.containers.createContainer(request);
      return (await client.ended(name)).error ?? {};
    } catch (error) {
      if (!isStillpointError(error)) throw error;
      return { reason: error.reason, message: error.message, help: error.help };
    }
  }

  /** All that could be left of a container that was not made. A project's network is kept for the next. */
  async function leftovers(): Promise<unknown[]> {
    const { containers } = await client.containers.listContainers({ parent: "projects/default" });
    const { hosts } = (await product.json("host", "list")) as { hosts: { reservations?: unknown[] }[] };
    const inEngine = await engineLeftovers(engine.docker, hostData);
    return [
      ...containers.map(({ name }) => name),
      ...hosts.flatMap(({ reservations = [] }) => reservations),
      ...inEngine.filter((line) => !line.startsWith("network ")),
      ...(await readdir(join(product.folder, "data/host/containers"))),
    ];
  }

  test.each(cases)("%s", async (_what, spec, reason, says) => {
    const refused = await refusal(spec);
    expect(refused).toMatchObject({ reason, message: expect.stringMatching(says) as string });
    expect(refused.help).toMatch(/\.$|:/);
    expect(refused.message).not.toMatch(/ctr-|overlay2|OCI runtime/);
  });

  test("names and labels", async () => {
    const create = (containerId: string, labels: Record<string, string> = {}) =>
      client.containers.createContainer({ parent: "projects/default", containerId, labels, spec: asked({}) });
    await expect(create("Web_1")).rejects.toMatchObject({ reason: "NAME_INVALID" });
    await expect(create("x".repeat(64))).rejects.toMatchObject({ reason: "NAME_INVALID" });
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`label-${i}`, "x"]));
    for (const labels of [many, { a: "x".repeat(10_000) }, { ["x".repeat(1_000)]: "a" }]) {
      const refused = create("wrong", labels);
      await expect(refused).rejects.toMatchObject({ reason: "ARGUMENT_INVALID", message: /^labels/ });
    }
    expect(await leftovers()).toEqual([]);
  });

  test("a port that is taken, by a program, by a container, and by one of whom nobody may know", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const address = taken.address();
    const hostPort = address !== null && typeof address === "object" ? address.port : 0;
    const ports = [{ hostPort, containerPort: 80, protocol: "tcp" }];
    const bind = `127.0.0.1:${hostPort} of the host is in use already`;
    expect(await refusal({ ports })).toMatchObject({
      reason: "PORT_TAKEN",
      message: `starting projects/default/containers/wrong: ${bind}`,
    });
    expect(await leftovers()).toEqual([]);
    taken.close();
    await client.run("holder", asked({ ports }));
    const told = async (project: string) => (await refusal({ ports }, `projects/${project}`)).message;
    expect(await told("default")).toContain(`port ${hostPort} is taken by projects/default/containers/holder`);
    expect(await told("other")).toContain(`port ${hostPort} is taken;`);
    expect(await told("other")).not.toContain("holder");
    const name = "projects/default/containers/holder";
    await expect(
      client.containers.createContainer({ parent: "projects/default", containerId: "holder", spec: asked({}) }),
    ).rejects.toMatchObject({ reason: "CONTAINER_EXISTS" });
    const exec = (...args: string[]) => product.stillpoint("container", "exec", "holder", ...args);
    expect(await exec("--", "no-such-program")).toMatchObject({ code: 1, stdout: "", stderr: /COMMAND_NOT_FOUND/ });
    expect(await exec("--user", "who", "--", "id")).toMatchObject({ code: 1, stderr: /its image has no user who/ });
    expect(await exec("--workdir", "/none", "--", "id")).toMatchObject({ code: 1, stderr: /working directory \/none/ });
    await client.done(client.containers.deleteContainer({ name, force: true }));
  });

  test("one that ends at once stays, so that it can be looked at, and is told with its last words", async () => {
    await client.run("brief", asked({ command: ["sh", "-c", "echo no such database; exit 3"] }));
    const ended = await client.until("brief", ({ state }) => state === "CONTAINER_STATE_EXITED");
    expect(ended.stateReason).toBe("exited with 3: no such database");
    expect((await product.stillpoint("container", "logs", "brief")).stdout).toBe("no such database\n");
    expect(await product.stillpoint("container", "delete", "brief")).toMatchObject({ code: 0 });
  });

  test("a registry that turns the host away, gives other bytes than it should, or does not answer", async () => {
    await using built = await smallImage(engine, "fresh", {
      dockerfile: ["FROM scratch", "COPY random /"],
      files: { random: randomBytes(30_000).toString("base64") },
    });
    const layer = await firstLayer(await push(built.tag, "fresh"));
    await engine.docker.getImage(built.tag).remove({ force: true });
    const answers = async (status: number, headers: Record<string, string>, path: RegExp) => {
      proxy.fault = ({ url }, answer) =>
        path.test(url ?? "") && answer.writeHead(status, headers).end("evil").headersSent;
      return refusal({ image: "fresh" });
    };
    expect(await answers(401, { "www-authenticate": "Basic" }, /./)).toMatchObject({ reason: "REGISTRY_LOGIN" });
    expect(await answers(200, { "content-length": "4" }, /blobs/)).toMatchObject({ reason: "IMAGE_CORRUPT" });
    proxy.fault = ({ url = "" }, answer) => url.endsWith(layer) && sendEndlessly(answer);
    expect(await refusal({ image: "fresh" })).toMatchObject({
      reason: "SPACE_INSUFFICIENT",
      message: expect.stringMatching(
        /fresh@sha256:.* has 1125899906842624 bytes or more, and its host has \d+ left/,
      ) as string,
    });
    expect(await leftovers()).toEqual([]);

    proxy.fault = ({ socket }) => socket.destroy().destroyed;
    const request = { parent: "projects/default", containerId: "wrong", spec: asked({ image: "fresh" }), start: true };
    const { name } = await client.containers.createContainer(request);
    const id = name.slice("operations/".length);
    const progress = async () => JSON.stringify(await product.json("operation", "get", id));
    await eventually(async () => (await progress()).includes("trying again: pulling "), { deadlineMs: 20_000 });
    expect(await product.stillpoint("operation", "cancel", id)).toMatchObject({ code: 0 });
    expect((await client.ended(name)).error).toMatchObject({ reason: "OPERATION_CANCELLED" });
    expect(await leftovers()).toEqual([]);
  }, 60_000);
});

/** The digest of the lowest layer of a pushed image, by its <host>/<repository>@<digest>. */
async function firstLayer(image: string): Promise<string> {
  const [host = "", repository = "", digest = ""] = image.split(/[/@]/);
  const accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
  const response = await fetch(`http://${host}/v2/${repository}/manifests/${digest}`, { headers: { accept } });
  const { layers } = (await response.json()) as { layers: { digest: string }[] };
  return layers[0]?.digest ?? "";
}

/** A petabyte, and slowly. */
function sendEndlessly(answer: ServerResponse): true {
  answer.writeHead(200, { "content-length": 2 ** 50 });
  const timer = setInterval(() => answer.write(Buffer.alloc(64 * 1024)), 10);
  answer.once("close", () => clearInterval(timer));
  return true;
}
