import { readdirSync, readFileSync, statSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { parseEnv } from "node:util";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import { eventually, freePort } from "#libs/testing";
import { type TlsFiles, TlsIdentity } from "#libs/tls";
import { repository, runCommand } from "../harness/command.ts";
import { definitions, notDenied } from "../harness/every-method.ts";
import { connectAsHost, hearable, sayable } from "../harness/host-line.ts";
import { type JoiningPlane, startJoiningPlane } from "../harness/joining-plane.ts";
import { SupervisedProcess } from "../harness/supervised-process.ts";

const stillpoint = join(repository, "bin/stillpoint");
let plane: JoiningPlane;
beforeAll(async () => {
  plane = await startJoiningPlane();
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
  await plane.answered(["operation", "wait", name], plane.at.operation);
  await isIn("CORDONED");
  const early = await plane.run(["host", "forget", "n1"]);
  expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining("HOST_NOT_DOWN") });
  // To end is not to leave: it is missed first.
  agent.hold();
  agent.kill("SIGTERM");
  await isIn("DOWN");
  await plane.answered(["host", "forget", "n1"]);
  agent.release();
  const told = async () => (await plane.run(["events", "--filter", "evt.host.>"], plane.at.operation)).stdout;
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

test("a host speaks for itself alone in NATS, has no other rights, and none once it is forgotten", async () => {
  await using stack = new AsyncDisposableStack();
  const { nats, folder, certificates, at } = plane;
  const [own, renewed, foreign] = ["h1", "h1-anew", "foreign"].map((name) => join(folder, name));
  if (!(own && renewed && foreign)) throw new Error("there are no folders");
  const join1 = (into: string, token: string) => plane.join(into, token, "--name", "h1", "--listen", "127.0.0.1:7071");
  expect(await join1(own, await plane.token("--host", "h1"))).toMatchObject({ code: 0 });
  const url = `127.0.0.1:${nats.server.port}`;
  const line = await connectAsHost(own, url, "h1");
  stack.defer(() => line.close());

  expect((await beat(line, "h1")).hostUid).toBe("host-h1");
  const others = ["hb.host.v1.n1", "obs.vm.vm-1.n1", "obs.vm.vm-1", "rec.hosts.h1", "op.x", "job.host", "evt.x"];
  const servers = [
    "$JS.API.STREAM.INFO.REC",
    "$JS.API.STREAM.MSG.GET.REC",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.USER.AUTH",
  ];
  expect(await sayable(line, [...others, ...servers])).toEqual([]);
  const inboxes = ["_INBOX.>", "_INBOX_host-n1.>", "_INBOX_scheduler.>", "_INBOX_*.>"];
  expect(await hearable(line, [...inboxes, "hb.host.v1.>", "hb.host.v1.h1", "job.>", "rec.>", "obs.>", ">"])).toEqual(
    [],
  );

  const files = (of: string) => ({ ca: join(of, "ca.crt"), cert: join(of, "tls.crt"), key: join(of, "tls.key") });
  const tls = stack.adopt(new TlsIdentity(files(own)), (it) => it.close());
  for (const service of ["operation", "scheduler"] as const) {
    expect(await notDenied(definitions[service], at[service], { tls })).toEqual([]);
  }
  expect(await pull(at.registry, files(own))).toBe(200);

  // Other certificates of the authority, and one of another authority, are nobody's.
  for (const other of ["admin/ada", "svc/vm"]) {
    await expect(connectAsHost(join(certificates, other), url, "h1")).rejects.toThrow("Authorization Violation");
  }
  await runCommand(stillpoint, ["cert", "ca", "--folder", foreign]);
  await runCommand(stillpoint, ["cert", "host", "h1", "--folder", foreign]);
  await expect(connectAsHost(join(foreign, "host/h1"), url, "h1")).rejects.toThrow();
  await expect(pull(at.registry, files(join(foreign, "host/h1")))).rejects.toThrow();

  await eventually(async () => (await plane.answered(["host", "get", "h1"])).state === "HOST_STATE_DOWN", {
    deadlineMs: 30_000,
  });
  expect(line.isClosed()).toBe(false);
  await plane.answered(["host", "forget", "h1"]);
  await line.closed();
  const isRefused = { rejects: "Authorization Violation" };
  await expect(connectAsHost(own, url, "h1")).rejects.toThrow(isRefused.rejects);
  await eventually(async () => (await pull(at.registry, files(own))) === 401);
  expect((await plane.run(["events", "--filter", "evt.host.>"], at.operation)).stdout).toMatch(
    /refused.*h1|h1.*refused/,
  );
  // Its certificate stays worth nothing when another machine has its name.
  expect(await join1(renewed, await plane.token())).toMatchObject({ code: 0, stderr: "" });
  await (await connectAsHost(renewed, url, "h1")).close();
  await expect(connectAsHost(own, url, "h1")).rejects.toThrow(isRefused.rejects);
  await eventually(async () => (await pull(at.registry, files(renewed))) === 200);
  expect(await pull(at.registry, files(own))).toBe(401);
});

/** A heartbeat of a host, and the answer to it. */
async function beat(line: NatsConnection, id: string): Promise<HeartbeatAck> {
  const inventory = {
    cpus: 4,
    cpuMillis: 4_000,
    memoryBytes: 2 ** 33,
    diskBytes: 2 ** 36,
    agentAddress: "127.0.0.1:7071",
  };
  return await eventually(
    async () => {
      const said = Heartbeat.fromPartial({ host: `hosts/${id}`, hostUid: `host-${id}`, bootId: "1", ...inventory });
      const data = JSON.stringify(Heartbeat.toJSON({ ...said, time: new Date() }));
      const answer = await line.request(`hb.host.v1.${id}`, data, { timeout: 500 }).catch(() => undefined);
      return answer && HeartbeatAck.fromJSON(answer.json());
    },
    { deadlineMs: 30_000 },
  );
}

/** The status that the registry answers with to whoever shows this certificate. */
async function pull(registry: string, { ca, cert, key }: TlsFiles): Promise<number | undefined> {
  const pem = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
  return await new Promise((resolve, reject) => {
    get(`https://${registry}/v2/`, { ...pem, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).once("error", reject);
  });
}
