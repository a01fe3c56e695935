import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Observation } from "#contracts/host/v1/agent";
import type { CheckpointReadiness } from "#contracts/vm/v1/vm";
import { systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest, type GuestVariant } from "../../../test/guest/build.ts";
import { readAgentConfig } from "../config.ts";
import { startAgent } from "../service.ts";
import { cacheImage, type TestHost, testHost, vmDefinition } from "../testing/test-host.ts";

const resources = new AsyncDisposableStack();
const made: string[] = [];
let data: string;
let host: TestHost;
let observed: () => Promise<Observation[]>;

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const connection = await openNats({ url: nats.url });
  resources.defer(() => connection.close());
  await openStreams(connection);
  const manager = await jetstreamManager(connection);
  observed = async () => {
    const { state } = await manager.streams.info("OBS");
    const messages = Array.from({ length: state.messages }, (_, index) =>
      manager.streams.getMessage("OBS", { seq: state.first_seq + index }),
    );
    return (await Promise.all(messages)).map((message) => Observation.fromJSON(message?.json()));
  };
  data = join(folder.path, "agent");
  const lifecycle = new Lifecycle();
  resources.defer(() => lifecycle.close());
  const config = readAgentConfig({ AGENT_DATA: data, NATS_URL: nats.url, LOG_LEVEL: "warn" });
  host = testHost((await startAgent(config, lifecycle)).address);
});

afterAll(async () => {
  for (const uid of made) await host.act(uid, { $case: "deleteVm", value: {} });
  await resources.disposeAsync();
});

async function newVm(variant: GuestVariant): Promise<string> {
  const vm = vmDefinition(await cacheImage(data, await buildGuest(variant)));
  made.push(vm.uid);
  await host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
  return vm.uid;
}

const start = (uid: string) => host.act(uid, { $case: "startVm", value: {} });

const meetGuest = (uid: string) =>
  eventually(async () => (await host.client.getWorkload({ uid })).guestAgent?.connected, { deadlineMs: 60_000 });

const inspect = (uid: string) => host.client.inspectReadiness({ uid });

const codes = ({ findings }: CheckpointReadiness) => findings.map(({ code }) => code);

/** What was told of a VM, in order. */
async function told(uid: string) {
  const seen = (await observed()).filter((observation) => observation.uid === uid);
  return seen.flatMap(({ happened }) => (happened?.$case === "readiness" ? [happened.value] : []));
}

test("a guest is looked at when it is off, when its agent comes, and when it changes; each change is told once", async () => {
  const uid = await newVm("default");
  expect(await inspect(uid)).toMatchObject({ outcome: "offline", consistency: "offline", production: true });
  await start(uid);
  await meetGuest(uid);
  const seen = await inspect(uid);
  expect(seen).toMatchObject({
    outcome: "production",
    production: true,
    freezeEnabled: true,
    hooksEnabled: true,
    ramBlockers: [],
    guestAgent: { connected: true, version: expect.stringMatching(/^\d+\./) as string },
  });
  expect(seen.mounts).toContainEqual({ path: "/", type: "ext4", freezable: true, why: "" });
  expect(seen.freeBytes).toBeGreaterThan(0);
  expect(codes(seen).filter((code) => !code.startsWith("ram."))).not.toContain("hooks.disabled");

  await host.act(uid, { $case: "pauseVm", value: {} });
  expect(await inspect(uid)).toMatchObject({ outcome: "standard", findings: [{ code: "vm.paused" }] });
  await host.act(uid, { $case: "resumeVm", value: {} });
  await eventually(async () => (await told(uid)).at(-1)?.outcome === "production", { deadlineMs: 10_000 });

  // A mute agent is seen when it is asked.
  await host.exec(uid, "/bin/sh", "-c", "kill -STOP $(pidof qemu-ga)").catch(() => undefined);
  expect(await inspect(uid)).toMatchObject({ outcome: "standard", guestAgent: { connected: false } });
  expect(codes(await inspect(uid))).toContain("agent.unresponsive");
  expect((await told(uid)).map(({ outcome }) => outcome)).toEqual([
    "offline",
    ...["standard", "production"],
    ...["standard", "production"],
    "standard",
  ]);
}, 60_000);

test("an agent that was started as Debian does, and none at all", async () => {
  const [bare, mute] = [await newVm("no-hooks"), await newVm("no-agent")];
  await Promise.all([start(bare), start(mute)]);
  await meetGuest(bare);
  const without = await inspect(bare);
  expect(without).toMatchObject({ outcome: "production", consistency: "filesystem", hooksEnabled: false });
  expect(codes(without)).toContain("hooks.disabled");
  expect(await inspect(mute)).toMatchObject({ outcome: "standard", consistency: "saved-state", production: false });
  expect(codes(await inspect(mute))).toContain("agent.absent");
}, 60_000);

test("while a checkpoint is taken the guest is left alone, and what was seen last is answered", async () => {
  const uid = made[1] ?? "";
  const before = await inspect(uid);
  const checkpointUid = systemRandom.id("ckpt");
  const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] };
  const taking = host.act(uid, { $case: "takeProduction", value });
  const answers: CheckpointReadiness[] = [];
  let taken = false;
  void taking.finally(() => {
    taken = true;
  });
  while (!taken) answers.push(await inspect(uid));
  const { checkpoint } = await taking;
  expect(checkpoint).toMatchObject({ refusedReason: "" });
  // A look that called the frozen guest would have seen "agent.already_frozen".
  for (const answer of answers) expect(codes(answer)).toEqual(codes(before));
}, 30_000);
