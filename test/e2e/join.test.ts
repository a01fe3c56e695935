import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, freePort, startNats, startRedis, temporaryFolder } from "#libs/testing";
import { repository, runCommand } from "../harness/command.ts";
import { SupervisedProcess } from "../harness/supervised-process.ts";

const stillpoint = join(repository, "bin/stillpoint");

/** The services that hosts need, with mutual TLS and an authority to sign with, and the command line of an administrator. */
async function startControlPlane() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const monitorPort = await freePort();
  const nats = stack.use(await startNats({ syncAlways: true, monitorPort }));
  const redis = stack.use(await startRedis());
  const certificates = join(folder, "authority");
  const made = async (...words: string[]) => {
    const { code, stderr } = await runCommand(stillpoint, ["cert", ...words, "--folder", certificates]);
    expect(stderr).toBe("");
    expect(code).toBe(0);
  };
  await made("ca");
  await Promise.all([made("service", "operation"), made("service", "scheduler"), made("admin", "ada")]);
  const filesOf = (identity: string) => ({
    TLS_CA: join(certificates, identity, "ca.crt"),
    TLS_CERT: join(certificates, identity, "tls.crt"),
    TLS_KEY: join(certificates, identity, "tls.key"),
  });
  const at = async () => `127.0.0.1:${await freePort()}`;
  const [operation, scheduler, joining] = [await at(), await at(), await at()];
  const env = {
    NATS_MONITOR_URL: `http://127.0.0.1:${monitorPort}`,
    ...{ NATS_URL: nats.url, REDIS_URL: redis.url, LOG_LEVEL: "info", STILLPOINT_ADDRESS: operation },
    ...{ OPERATION_ADDRESS: operation, SCHEDULER_ADDRESS: scheduler, JOIN_ADDRESS: joining },
    ...{ JOIN_AUTHORITY: certificates, HOST_DOWN_AFTER_SECONDS: "4" },
  };
  for (const name of ["operation", "scheduler"]) {
    const script = join(repository, "services", name, "main.ts");
    const log = join(folder, `${name}.log`);
    stack.use(SupervisedProcess.start(script, { ...env, ...filesOf(`svc/${name}`) }, log));
  }
  const run = async (words: readonly string[], address = scheduler) =>
    runCommand(stillpoint, words, { env: { ...filesOf("admin/ada"), STILLPOINT_ADDRESS: address } });
  const answered = async (words: readonly string[], address?: string) => {
    const { code, stdout, stderr } = await run([...words, "-o", "json"], address);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  };
  for (const words of [
    ["host", "list"],
    ["operation", "list"],
  ]) {
    await eventually(() => answered(words, words[0] === "host" ? scheduler : operation), { deadlineMs: 60_000 });
  }
  const owned = stack.move();
  return {
    ...{ folder, joining, operation, run, answered },
    token: async (...words: string[]) => (await answered(["host", "join-token", ...words])).token as string,
    /** A machine that has no certificate and nobody's trust. */
    join: (folder: string, token: string, ...words: string[]) =>
      runCommand(stillpoint, ["host", "join", joining, "--folder", folder, ...words], {
        env: { STILLPOINT_JOIN_TOKEN: token, TLS_CA: "", TLS_CERT: "", TLS_KEY: "" },
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

let plane: Awaited<ReturnType<typeof startControlPlane>>;
beforeAll(async () => {
  plane = await startControlPlane();
});
afterAll(() => plane[Symbol.asyncDispose]());

test("a machine joins by a token, works, is drained and forgotten, and is refused until it joins anew", async () => {
  await using stack = new AsyncDisposableStack();
  const folder = join(plane.folder, "n1");
  const listen = `127.0.0.1:${await freePort()}`;
  const token = await plane.token("--zone", "z1", "--label", "disk=ssd");
  const joined = await plane.join(folder, token, "--name", "n1", "--listen", listen);
  expect(joined).toMatchObject({ code: 0, stderr: "" });
  const mode = (file: string) => (statSync(join(folder, file)).mode & 0o777).toString(8);
  expect(["", "tls.key", "tls.crt", "ca.crt", "agent.env"].map(mode)).toEqual(["700", "600", "600", "600", "600"]);
  const settings = parseEnv(readFileSync(join(folder, "agent.env"), "utf8")) as Record<string, string>;
  expect(settings).toMatchObject({ AGENT_HOST_NAME: "n1", AGENT_REACHED_AT: listen, AGENT_ZONE: "z1" });

  const script = join(repository, "services/agent/main.ts");
  const own = { AGENT_DATA: join(plane.folder, "data"), AGENT_DOCKER_HOST: "none" };
  const agent = stack.use(SupervisedProcess.start(script, { ...settings, ...own }, join(plane.folder, "agent.log")));
  const host = () => plane.answered(["host", "get", "n1"]);
  const isIn = (state: string) =>
    eventually(async () => (await host()).state === `HOST_STATE_${state}` && host(), { deadlineMs: 30_000 });
  expect(await isIn("READY")).toMatchObject({ agentAddress: listen, zone: "z1", labels: { disk: "ssd", zone: "z1" } });
  const set = ["host", "set", "n1", "--cpu-overcommit", "1.5", "--reserve-memory", "512MiB", "--label", "rack=r3"];
  expect(await plane.answered(set)).toMatchObject({ cpuOvercommit: 1.5, labels: { rack: "r3" } });
  expect((await plane.run(["host", "list"])).stdout).toMatch(/^n1 +ready +z1 /m);

  const { name } = await plane.answered(["host", "drain", "n1", "--async"]);
  await plane.answered(["operation", "wait", name], plane.operation);
  await isIn("CORDONED");
  const early = await plane.run(["host", "forget", "n1"]);
  expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining("HOST_NOT_DOWN") });
  // To end is not to leave: it is missed first.
  agent.hold();
  agent.kill("SIGTERM");
  await isIn("DOWN");
  await plane.answered(["host", "forget", "n1"]);
  agent.release();
  const told = async () => (await plane.run(["events", "--filter", "evt.host.>"], plane.operation)).stdout;
  await eventually(async () => (await told()).includes("refused"), { deadlineMs: 30_000 });
  expect((await plane.answered(["host", "list"])).hosts ?? []).toEqual([]);
  const again = await plane.join(folder, await plane.token("--host", "n1"), "--name", "n1", "--listen", listen);
  expect(again.stderr).toContain("CERTIFICATE_EXISTS");
  const anew = ["--name", "n1", "--listen", listen, "--force"];
  expect(await plane.join(folder, await plane.token("--host", "n1"), ...anew)).toMatchObject({ code: 0 });
  await isIn("READY");
});

test("a token that is used, expired or for another name, and an impostor, leave nothing on the machine", async () => {
  const joinAs = (name: string, token: string) =>
    plane.join(join(plane.folder, name), token, "--name", name, "--listen", "127.0.0.1:7071");
  const token = await plane.token();
  expect(await joinAs("m1", token)).toMatchObject({ code: 0 });
  const invalid = { code: 1, stderr: expect.stringContaining("JOIN_TOKEN_INVALID") };
  expect(await joinAs("m2", token)).toMatchObject(invalid);
  expect(await joinAs("m2", await plane.token("--host", "m3"))).toMatchObject(invalid);
  const known = await plane.token();
  expect(await joinAs("m1", known)).toMatchObject({ code: 1, stderr: expect.stringContaining("CERTIFICATE_EXISTS") });
  const foreign = known.replace(/[0-9a-f]{64}$/, "0".repeat(64));
  const impostor = await joinAs("m2", foreign);
  expect(impostor).toMatchObject({ code: 1, stderr: expect.stringContaining("AUTHORITY_MISMATCH") });
  expect(readdirSync(join(plane.folder, "m2"))).toEqual([]);
});
