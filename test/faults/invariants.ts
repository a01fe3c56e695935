import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { VmState } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import type { Cluster } from "../harness/cluster.ts";
import { findQemus } from "../harness/qemu-process.ts";

/**
 * What must hold after any fault, once things have settled: one QEMU for each VM that runs and none else, no operation
 * unfinished, capacity held for the VMs that are and none else, no file on the host that no manifest knows.
 */
export async function checkInvariants(cluster: Cluster): Promise<void> {
  await eventually(() => settled(cluster), { deadlineMs: 15_000, everyMs: 100 });
}

async function settled(cluster: Cluster): Promise<true> {
  const { operations } = await cluster.api.operations.listOperations({ unfinishedOnly: true });
  expectNone(
    "unfinished operations",
    operations.map(({ name, kind }) => `${name} ${kind}`),
  );
  const { vms } = await cluster.api.vms.listVms({ parent: "projects/default" });
  expectNone(
    "VMs that an operation still holds",
    vms.filter(({ operation }) => operation !== "").map(({ name }) => name),
  );
  const running = vms.filter(({ state }) => state === VmState.RUNNING || state === VmState.PAUSED);
  const qemus = await findQemus(cluster.agentData);
  if (qemus.length !== running.length) {
    throw new Error(`${qemus.length} QEMU processes for ${running.length} running VMs: ${JSON.stringify(qemus)}`);
  }
  const uids = vms.map(({ uid }) => uid);
  await noOrphanReservations(cluster, uids);
  await noOrphanFiles(cluster, uids);
  return true;
}

async function noOrphanReservations({ api }: Cluster, uids: readonly string[]): Promise<void> {
  const { hosts } = await api.hosts.listHosts({});
  const held = hosts.flatMap(({ reservations }) => reservations.map(({ uid }) => uid)).toSorted();
  const wanted = uids.toSorted();
  if (held.join() !== wanted.join()) throw new Error(`capacity is held for ${held.join()}; there are ${wanted.join()}`);
}

/** Every disk layer and checkpoint folder is named in the manifest beside it; nothing temporary is left. */
async function noOrphanFiles(cluster: Cluster, uids: readonly string[]): Promise<void> {
  const root = join(cluster.agentData, "workloads");
  const folders = await readdir(root);
  expectNone(
    "folders of no VM",
    folders.filter((folder) => !uids.includes(folder)),
  );
  for (const uid of uids) {
    const manifest = await readFile(join(root, uid, "manifest.json"), "utf8");
    const { receiving = null } = JSON.parse(manifest) as { receiving?: unknown };
    if (receiving !== null) throw new Error(`${uid} still receives ${JSON.stringify(receiving)}`);
    const entries = await readdir(join(root, uid), { recursive: true });
    const layers = entries.filter((entry) => entry.endsWith(".qcow2"));
    const unknown = layers.filter((layer) => !manifest.includes(layer.split("/").at(-1)?.replace(".qcow2", "") ?? ""));
    expectNone(`disk layers that the manifest of ${uid} does not know`, unknown);
    expectNone(
      "temporary files",
      entries.filter((entry) => entry.includes(".tmp") || entry.endsWith(".part")),
    );
  }
}

function expectNone(what: string, found: readonly string[]): void {
  if (found.length > 0) throw new Error(`${what}: ${found.join(", ")}`);
}
