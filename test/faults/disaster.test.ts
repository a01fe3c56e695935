import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ListCheckpointsResponse } from "#contracts/checkpoint/v1/checkpoint";
import { ContainerSpec } from "#contracts/container/v1/container";
import type { WorkloadManifest } from "#contracts/host/v1/agent";
import type { RebuildFinding, RebuildSummary } from "#contracts/operation/v1/admin";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { dockerEngine, eventually } from "#libs/testing";
import type { Cluster } from "../harness/cluster.ts";
import { repository, runCommand } from "../harness/command.ts";
import { findQemus } from "../harness/qemu-process.ts";
import { untilVm } from "../harness/vm-client.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { faultRuns } from "./fault-run.ts";
import { carryThrough, untilAnswered } from "./patient-api.ts";
import { deleteVm, ensureVm, runInGuest, takeCheckpoint } from "./stage.ts";
import { startTwoHosts, type TwoHosts } from "./two-hosts.ts";

const parent = "projects/default";
const subject = `${parent}/vms/subject`;
const twice = `${parent}/vms/twice`;
const late = `${parent}/vms/late`;
const fenced = `${parent}/vms/fenced`;
const worker = `${parent}/containers/worker`;

type Rebuilt = { readonly findings: readonly RebuildFinding[]; readonly summary: RebuildSummary };

/** NATS's data is deleted while a guest and a container run; each part goes on from the one before. */
describe("F13: when NATS's data is gone", () => {
  const stack = new AsyncDisposableStack();
  let hosts: TwoHosts;
  let cluster: Cluster;
  let backup: string;
  const run = faultRuns(() => cluster);
  beforeAll(async () => {
    const engine = stack.use(await dockerEngine());
    hosts = stack.use(await startTwoHosts({}, { AGENT_DOCKER_HOST: `unix://${engine.socketPath}` }));
    cluster = hosts.cluster;
    stack.defer(async () => {
      for (const { pid } of await findQemus(cluster.folder)) process.kill(pid, "SIGKILL");
    });
    backup = join(cluster.folder, "backup");
    stack.defer(removeAll);
    const pushing = pushImage(engine, await busyboxImage(engine), new URL(cluster.registryUrl).host, "busybox");
    await Promise.all([ensureVm(cluster, subject, { start: true }), ensureVm(cluster, twice, {}), pushing]);
    await createWorker();
    await untilVm(cluster.api.vms, subject, ({ guestAgent }) => guestAgent?.connected === true);
    const base = await takeCheckpoint(cluster, subject, CheckpointType.STANDARD);
    await takeCheckpoint(cluster, subject, CheckpointType.PRODUCTION_ONLY);
    await apply(base);
    await runInGuest(cluster, subject, "true");
    const yearly = { parent, scheduleId: "yearly", schedule: { cron: "0 3 1 1 *", vm: subject } };
    await cluster.api.schedules.createSchedule(yearly);
  }, 240_000);
  afterAll(() => stack.disposeAsync());

  const createWorker = () => {
    const spec = ContainerSpec.fromPartial({ image: "busybox", command: ["sleep", "infinity"] });
    const asked = { parent, containerId: "worker", spec, start: true };
    return carryThrough(cluster, (requestId) => cluster.api.containers.createContainer({ ...asked, requestId }));
  };
  const createFenced = () => {
    const spec = { image: "linux:guest", cpus: 1, memoryBytes: 256 * 2 ** 20, recovery: "RECOVERY_RESTART" as const };
    const asked = { parent, vmId: "fenced", spec, start: true };
    return carryThrough(cluster, (requestId) => cluster.api.vms.createVm({ ...asked, requestId }));
  };
  const stateOf = async (name: string) =>
    (await manifests()).find(({ workload }) => workload?.name === name)?.workload?.state;
  const removeAll = async () => {
    for (const name of [subject, twice, late, fenced]) await deleteVm(cluster, name).catch(() => undefined);
    await carryThrough(cluster, (requestId) =>
      cluster.api.containers.deleteContainer({ name: worker, force: true, withCheckpoints: true, requestId }),
    ).catch(() => undefined);
  };
  const apply = (name: string) =>
    carryThrough(cluster, (requestId) => cluster.api.checkpoints.applyCheckpoint({ name, requestId }));
  const admin = async (...args: string[]) => {
    const env = { STILLPOINT_ADDRESS: cluster.operationAddress };
    const { code, stdout, stderr } = await runCommand(
      join(repository, "bin/stillpoint"),
      ["admin", ...args, "-o", "json"],
      { env },
    );
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as unknown;
  };
  const rebuild = (...args: string[]) => admin(...args) as Promise<Rebuilt>;
  const pids = async () => (await findQemus(cluster.folder)).map(({ pid }) => pid).toSorted((a, b) => a - b);
  const manifests = async (): Promise<WorkloadManifest[]> => {
    const all: WorkloadManifest[] = [];
    for await (const { known } of cluster.api.agent.listManifests({}))
      if (known?.$case === "workload") all.push(known.value);
    return all;
  };
  const treeOf = async (name: string) => shapeOf(await cluster.api.checkpoints.listCheckpoints({ parent: name }));
  const epochs = async () => Math.max(...(await manifests()).map(({ workload }) => workload?.epoch ?? 0));
  const reservedOn = async (host: string) => {
    const { reservations } = await untilAnswered(() => cluster.api.hosts.getHost({ name: `hosts/${host}` }));
    return reservations.map(({ workload }) => workload).toSorted();
  };

  /** Each copy that a host is to have of a record is there; or the host has heard that it is gone. */
  const areKept = (names: readonly string[], gone = false) =>
    eventually(
      async () => {
        const kept = (await manifests()).flatMap(({ records }) => records.filter(({ deleted }) => deleted === gone));
        return names.every((wanted) => kept.some(({ name }) => name === wanted));
      },
      { deadlineMs: 15_000 },
    );

  /** It comes back empty, and the services by themselves. */
  const loseNats = async (untilThen: () => Promise<unknown> = async () => undefined) => {
    await cluster.nats.stop("SIGKILL");
    try {
      await untilThen();
    } finally {
      await rm(join(cluster.nats.folder, "jetstream"), { recursive: true });
      run().fault("loss of NATS's data");
      await cluster.nats.start();
    }
    const isReady = async () => {
      const { summary } = await rebuild("rebuild", "--dry-run");
      return summary.hostsAnswered === 2 && (await cluster.api.vms.listVms({ parent })).vms.length === 0;
    };
    await eventually(() => isReady().catch(() => false), { deadlineMs: 30_000 });
  };

  test("a backup and the hosts together give back what was there, above all old epochs, while guests run on", async () => {
    await admin("backup", backup);
    await admin("backup", backup, "--verify");
    await ensureVm(cluster, late, {});
    await takeCheckpoint(cluster, subject, CheckpointType.PRODUCTION_ONLY);
    const [tree, running, epoch] = await Promise.all([treeOf(subject), pids(), epochs()]);
    expect(tree.checkpoints).toHaveLength(3);
    expect(tree.checkpoints.filter(({ parent }) => parent === tree.checkpoints[0]?.uid)).toHaveLength(2);
    const before = { n1: await reservedOn("n1"), n2: await reservedOn("n2") };
    await areKept(tree.checkpoints.map(({ name }) => name));
    const { token } = await cluster.api.vms.listVms({ parent });

    await loseNats();
    const planned = await rebuild("restore", backup, "--dry-run");
    expect(planned.summary.dryRun).toBe(true);
    expect((await cluster.api.vms.listVms({ parent })).vms).toEqual([]);
    const done = await rebuild("restore", backup);
    expect(done.findings.map(keyOf).toSorted()).toEqual(planned.findings.map(keyOf).toSorted());
    expect(done.findings.map(keyOf)).toEqual(
      expect.arrayContaining(["restored repositories/busybox", `rebuilt ${late}`]),
    );
    expect(done.summary.counts.failed ?? 0).toBe(0);

    expect(await pids()).toEqual(running);
    expect(await treeOf(subject)).toEqual(tree);
    await expect
      .poll(async () => ({ n1: await reservedOn("n1"), n2: await reservedOn("n2") }), { timeout: 10_000 })
      .toEqual(before);
    const vms = await eventually(async () => {
      const listed = (await cluster.api.vms.listVms({ parent })).vms;
      return listed.length === 3 && listed;
    });
    expect(vms.map(({ name, state }) => `${name} ${state}`).toSorted()).toEqual([
      `${late} VM_STATE_STOPPED`,
      `${subject} VM_STATE_RUNNING`,
      `${twice} VM_STATE_STOPPED`,
    ]);
    expect((await cluster.api.schedules.getSchedule({ name: `${parent}/schedules/yearly` })).cron).toBe("0 3 1 1 *");
    const old = cluster.api.vms.watchVms({ parent, since: token })[Symbol.asyncIterator]();
    await expect(old.next().then(() => old.next())).rejects.toMatchObject({ reason: "RESYNC" });
    await expect(admin("restore", backup)).rejects.toThrow("INSTALLATION_LIVE");

    await worksOn(tree);
    expect(await epochs()).toBeGreaterThan(epoch);
    expect((await rebuild("rebuild")).findings).toEqual([]);
  }, 120_000);

  /** Takes, applies and deletes; events tell of it. */
  const worksOn = async ({ checkpoints }: Awaited<ReturnType<typeof treeOf>>) => {
    const { checkpoints: api, events } = cluster.api;
    const made = await takeCheckpoint(cluster, subject, CheckpointType.PRODUCTION_ONLY);
    await apply(checkpoints[0]?.name ?? "");
    await runInGuest(cluster, subject, "true");
    await carryThrough(cluster, (requestId) => api.deleteCheckpoint({ name: made, requestId }));
    await eventually(async () => {
      const seen: string[] = [];
      const all = events.watchEvents({ since: "", filter: "evt.>", follow: false });
      for await (const { type, resource } of all) seen.push(`${type} ${resource}`);
      return ["created", "deleted"].every((what) => seen.includes(`stillpoint.checkpoint.v1.${what} ${made}`));
    });
    await areKept([made], true);
  };

  test("the hosts alone do too; of two with one name the lower epoch is put into quarantine", async () => {
    await createFenced();
    const [tree, running] = [await treeOf(subject), await pids()];
    expect((await cluster.api.vms.getVm({ name: fenced })).host).toBe("hosts/n1");
    const older = (await cluster.api.vms.getVm({ name: twice })).uid;
    await areKept([subject, worker, ...tree.checkpoints.map(({ name }) => name)]);
    const newerOn = older === undefined ? "" : await hostWithout(older);
    // It may be recovered elsewhere, for all that its host knows: it stands still, and no word ends it.
    const isPaused = async () => (await stateOf(fenced)) === "WORKLOAD_STATE_PAUSED";
    await loseNats(() => eventually(isPaused, { deadlineMs: 30_000 }));
    // Somebody goes on as if nothing were missing.
    const spec = { image: "linux:guest", cpus: 1, memoryBytes: 256 * 2 ** 20, host: newerOn };
    await carryThrough(cluster, (requestId) => cluster.api.vms.createVm({ parent, vmId: "twice", spec, requestId }));
    const newer = (await cluster.api.vms.getVm({ name: twice })).uid;
    const conflict = (await rebuild("rebuild", "--dry-run")).findings.filter(({ action }) => action === "quarantined");
    expect(conflict.map(({ uid, detail }) => `${uid} ${detail.split(":")[0]}`)).toEqual([`${older} name.taken`]);

    await loseNats();
    const { findings, summary } = await rebuild("rebuild");
    expect(findings.map(keyOf)).toEqual(
      expect.arrayContaining([`rebuilt ${subject}`, `rebuilt ${worker}`, `quarantined ${twice}`]),
    );
    expect(summary.notRebuilt.length).toBeGreaterThan(0);
    expect((await cluster.api.vms.getVm({ name: twice })).uid).toBe(newer);
    const { workloads } = (await admin("quarantine")) as { workloads: { uid: string; reason: string }[] };
    expect(workloads.map(({ uid, reason }) => `${uid} ${reason}`)).toEqual([`${older} name.taken`]);
    expect(await hostWithout(older)).toBe(newerOn);
    expect(await pids()).toEqual(running);
    await eventually(async () => (await stateOf(fenced)) === "WORKLOAD_STATE_RUNNING", { deadlineMs: 15_000 });
    expect(await treeOf(subject)).toEqual(tree);
    expect((await cluster.api.containers.getContainer({ name: worker })).state).toBe("CONTAINER_STATE_RUNNING");
    expect((await cluster.api.schedules.getSchedule({ name: `${parent}/schedules/yearly` })).cron).toBe("0 3 1 1 *");
    await worksOn(tree);
    const found = async () => (await rebuild("rebuild")).findings.map(keyOf);
    await expect.poll(found, { timeout: 30_000 }).toEqual([`quarantined ${twice}`]); // a recovery may just end
    await admin("discard", older, "--host", newerOn === "hosts/n2" ? "n1" : "n2", "--yes");
    expect((await rebuild("rebuild")).findings).toEqual([]);
    const poweroff = cluster.api.vms.execVm({ name: subject, command: ["poweroff"] })[Symbol.asyncIterator]();
    await poweroff.next().catch(() => undefined); // what agents see comes through again
    await untilVm(cluster.api.vms, subject, ({ state }) => state === "VM_STATE_STOPPED");
  }, 120_000);

  const hostWithout = async (uid: string): Promise<string> =>
    (await manifests()).some(({ workload }) => workload?.uid === uid) ? "hosts/n2" : "hosts/n1";
});

const keyOf = ({ action, name }: RebuildFinding): string => `${action} ${name}`;

/** What has to be the same before and after. */
function shapeOf({ checkpoints, head }: ListCheckpointsResponse) {
  return {
    head: head?.parent,
    generationId: head?.generationId,
    checkpoints: checkpoints.map(({ name, uid, parent, displayName, kind, consistency, receipt }) => {
      return { name, uid, parent, displayName, kind, consistency, freeze: receipt?.freeze };
    }),
  };
}
