import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Vm, VmState } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import type { Api } from "../harness/api.ts";
import { findQemus } from "../harness/qemu-process.ts";
import { expectNone, InvariantViolation } from "./invariant-violation.ts";

/** What is looked at: the control plane, and the folder of every agent. */
export interface Looked {
  readonly api: Pick<Api, "operations" | "vms" | "hosts">;
  readonly agentFolders: readonly string[];
}

/**
 * What must hold after any fault, once things have settled: one QEMU for each VM that runs and none else, no operation
 * unfinished, capacity held for the VMs that are and none else, no file on a host that no manifest knows (invariants
 * I1, I2, I5, I6 and I12 of our fault tests).
 */
export async function checkInvariants(
  cluster: Pick<Looked, "api"> & ({ readonly agentData: string } | Pick<Looked, "agentFolders">),
  deadlineMs = 15_000,
): Promise<void> {
  const agentFolders = "agentData" in cluster ? [cluster.agentData] : cluster.agentFolders;
  await eventually(() => settled({ api: cluster.api, agentFolders }), { deadlineMs, everyMs: 100 });
}

/** The VMs that run more than once at this moment (I1). */
export async function runningTwice({ agentFolders }: Pick<Looked, "agentFolders">): Promise<string[]> {
  const running = (await Promise.all(agentFolders.map(runningIn))).flat();
  return running.filter((uid, index) => running.indexOf(uid) !== index);
}

async function settled(looked: Looked): Promise<true> {
  const { operations } = await looked.api.operations.listOperations({ unfinishedOnly: true });
  expectNone(
    "unfinished operations",
    operations.map(({ name, kind }) => `${name} ${kind}`),
  );
  const { vms } = await looked.api.vms.listVms({ parent: "projects/default" });
  expectNone(
    "VMs that an operation still holds",
    vms.filter(({ operation }) => operation !== "").map(({ name }) => name),
  );
  await eachRunsOnce(looked, vms);
  const uids = vms.map(({ uid }) => uid);
  await noOrphanReservations(looked, uids);
  for (const folder of looked.agentFolders) await noOrphanFiles(folder, uids);
  return true;
}

async function eachRunsOnce({ agentFolders }: Looked, vms: readonly Vm[]): Promise<void> {
  const wanted = vms.filter(({ state }) => state === VmState.RUNNING || state === VmState.PAUSED);
  const qemus = (await Promise.all(agentFolders.map(runningIn))).flat().toSorted();
  const uids = wanted.map(({ uid }) => uid).toSorted();
  if (qemus.join() !== uids.join())
    throw new InvariantViolation(`QEMU runs for ${qemus.join()}; it should for ${uids.join()}`);
}

/** uids of the VMs that have a QEMU below an agent's folder. */
async function runningIn(agentFolder: string): Promise<string[]> {
  const qemus = await findQemus(agentFolder);
  return qemus.map(({ folder }) => folder.slice(join(agentFolder, "workloads/").length).split("/")[0] ?? "");
}

async function noOrphanReservations({ api }: Looked, uids: readonly string[]): Promise<void> {
  const { hosts } = await api.hosts.listHosts({ withReservations: true });
  const held = hosts.flatMap(({ reservations }) => reservations.map(({ uid }) => uid)).toSorted();
  const wanted = uids.toSorted();
  if (held.join() !== wanted.join())
    throw new InvariantViolation(`capacity is held for ${held.join()}; there are ${wanted.join()}`);
}

/** Every disk layer and checkpoint folder is named in the manifest beside it; nothing temporary is left. */
async function noOrphanFiles(agentFolder: string, uids: readonly string[]): Promise<void> {
  const root = join(agentFolder, "workloads");
  const folders = await readdir(root);
  expectNone(
    "folders of no VM",
    folders.filter((folder) => !uids.includes(folder)),
  );
  for (const uid of folders) {
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
