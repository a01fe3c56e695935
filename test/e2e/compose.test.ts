import { readFile } from "node:fs/promises";
import { get } from "node:https";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { createRpcClient } from "#libs/rpc";
import { dockerEngine, engineLeftovers, eventually, isLong, type TestEngine } from "#libs/testing";
import { TlsIdentity } from "#libs/tls";
import { bringBackDatabase } from "../demo/database-story.ts";
import { Report } from "../demo/report.ts";
import { buildGuest } from "../guest/build.ts";
import { repository, runCommand } from "../harness/command.ts";
import { type ComposedProduct, startCompose, whyNoCompose } from "../harness/compose.ts";
import { definitions, notDenied } from "../harness/every-method.ts";
import { connectAsHost, sayable } from "../harness/host-line.ts";
import type { CommandLine } from "../harness/product.ts";
import { busyboxImage, pushImage } from "../images/build.ts";

const missing = await whyNoCompose();
if (missing !== undefined) console.warn(`docker-compose.yml is not tested: ${missing}`);

describe.skipIf(missing !== undefined)("docker-compose.yml", () => {
  let engine: TestEngine;
  let product: ComposedProduct;
  let tls: TlsIdentity;
  beforeAll(async () => {
    engine = await dockerEngine();
    // The longer suite has the longer profile.
    product = await startCompose(engine, { cluster: isLong });
    const file = (name: string) => join(product.state, "admins/ada", name);
    tls = new TlsIdentity({ ca: file("ca.crt"), cert: file("tls.crt"), key: file("tls.key") });
  }, 600_000);
  afterAll(async () => {
    tls?.close();
    await product?.[Symbol.asyncDispose]();
    if (product !== undefined) expect(await engineLeftovers(engine.docker, product.project)).toEqual([]);
    await engine?.[Symbol.asyncDispose]();
  }, 120_000);

  /** Crashes the container that works on an operation of this kind, as soon as one does. */
  async function crashWorker(kind: string): Promise<string> {
    const operations = createRpcClient(OperationsDefinition, product.address, { tls });
    try {
      const worker = await eventually(
        async () => {
          const { operations: unfinished } = await operations.listOperations({ unfinishedOnly: true });
          return unfinished.find((operation) => operation.kind === kind)?.progress?.worker || undefined;
        },
        { deadlineMs: 30_000, everyMs: 20 },
      );
      const [container = ""] = worker.split(":");
      await product.crash(container);
      return container;
    } finally {
      operations.close();
    }
  }

  test("the main job, with a replica that dies in the middle of the checkpoint", { timeout: 300_000 }, async () => {
    let crashed = "";
    const shaken: CommandLine = {
      ...product,
      json: async (...args) => {
        const isCheckpoint = args[0] === "checkpoint" && args[1] === "create";
        const [answer] = await Promise.all([
          product.json(...args),
          isCheckpoint && crashWorker("checkpoint.create").then((container) => (crashed = container)),
        ]);
        return answer;
      },
    };
    await bringBackDatabase(shaken, await buildGuest(), new Report());
    const { Name, RestartCount } = await eventually(async () => {
      const state = await engine.docker.getContainer(crashed).inspect();
      return state.State.Health?.Status === "healthy" && state;
    });
    expect(Name).toMatch(/checkpoint[-_][12]$/);
    expect(RestartCount).toBe(1);
    // Nobody wanted what its rights in NATS do not give.
    expect(await product.compose("logs", "--no-color", "nats")).not.toContain("Violation");
  });

  test("a container, whose image the host's engine pulls with its account", async () => {
    const registry = product.registryUrl.slice("https://".length);
    await pushImage(engine, await busyboxImage(engine), registry, "tools/busybox", product.registryLogin);
    const key = ["--secret", `ca=${join(product.state, "admins/ada/ca.crt")}`];
    const line = ["--image", "tools/busybox:latest", ...key, "--", "sleep", "1000"];
    expect(await product.stillpoint("container", "run", "sleeper", ...line)).toMatchObject({ code: 0 });
    const { state } = (await product.json("container", "get", "sleeper")) as { state: string };
    expect(state).toBe("CONTAINER_STATE_RUNNING");
    const { stdout } = await product.stillpoint("container", "exec", "sleeper", "--", "head", "-n1", "/run/secrets/ca");
    expect(stdout).toBe("-----BEGIN CERTIFICATE-----\n");
    expect(await product.stillpoint("host", "drain", "n1")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("stopped: projects/default/containers/sleeper") as string,
    });
    await product.json("host", "uncordon", "n1");
    expect(await product.compose("logs", "--no-color", "nats")).not.toContain("Violation");
    await product.json("container", "delete", "sleeper", "--force");
  });

  test("replicas are replaced with no failed call, also when one gets the address of another service", {
    timeout: 300_000,
  }, async () => {
    const rolling = product.deploy("roll.sh", "vm", "container");
    let isOver = false;
    const over = rolling.finally(() => (isOver = true));
    let calls = 0;
    for (; !isOver; calls++) {
      for (const noun of ["vm", "container"]) expect(await product.stillpoint(noun, "list")).toMatchObject({ code: 0 });
    }
    expect(await over).toBe("vm: 2 new\ncontainer: 2 new\n");
    expect(calls).toBeGreaterThan(3);
    for (const noun of ["vm", "container"]) expect(await product.stillpoint(noun, "list")).toMatchObject({ code: 0 });
  });

  test("a machine joins by a token, through the proxy", async () => {
    const { token } = (await product.json("host", "join-token")) as { token: string };
    const folder = join(product.folder, "m1");
    const env = { STILLPOINT_JOIN_TOKEN: token, TLS_CA: "", TLS_CERT: "", TLS_KEY: "" };
    const line = ["host", "join", product.joinAddress, "--name", "m1", "--folder", folder];
    const { code, stderr } = await runCommand(join(repository, "bin/stillpoint"), line, { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const told = parseEnv(await readFile(join(folder, "agent.env"), "utf8"));
    expect(told).toMatchObject({ AGENT_HOST_NAME: "m1", REGISTRY_HTTP_URL: product.registryUrl });
    const url = new URL((told.NATS_URL ?? "").split(",")[0] ?? "");
    expect(url.username).toBe("");
    await using nats = await connectAsHost(folder, url.host, "m1");
    expect(await sayable(nats, ["hb.host.v1.n1", "obs.vm.vm-1.n1", "rec.hosts.m1"])).toEqual([]);
    nats.publish("hb.host.v1.m1", "{}");
    await nats.flush();
    const file = (name: string) => join(folder, name);
    const own = new TlsIdentity({ ca: file("ca.crt"), cert: file("tls.crt"), key: file("tls.key") });
    expect(await notDenied(Object.values(definitions).flat(), product.address, { tls: own })).toEqual([]);
    own.close();
  });

  test("nobody gets in without a certificate", async () => {
    const files = join(product.state, "hosts/n1");
    const read = (name: string) => readFile(join(files, name), "utf8");
    const [ca, cert, key] = await Promise.all([read("ca.crt"), read("tls.crt"), read("tls.key")]);
    const statusOf = (options: object) =>
      new Promise<number | undefined>((resolve, reject) => {
        get(`${product.registryUrl}/v2/`, { ca, ...options }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).once("error", reject);
      });
    expect(await statusOf({})).toBe(401);
    expect(await statusOf({ cert, key })).toBe(200);
    const url = new URL((await read("nats-url")).trim().split(",")[0] ?? "");
    await expect(connectAsHost(files, url.host, "n1", { tls: { ca } })).rejects.toThrow();
    const guessed = { user: "vm", pass: "guessed" };
    await expect(connectAsHost(files, url.host, "n1", guessed)).rejects.toThrow("Authorization");
    await using nats = await connectAsHost(files, url.host, "n1");
    expect(await sayable(nats, ["hb.host.v1.n2", "rec.hosts.n1", "$JS.API.STREAM.DELETE.REC"])).toEqual([]);
  });
});
