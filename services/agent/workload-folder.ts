import { join } from "node:path";
import { StillpointError } from "#libs/errors";

/** The agent's data folder. Each path below it is made from ids that were checked, never from free text. */
export interface DataFolder {
  readonly root: string;
  readonly images: string;
  readonly workloads: string;
  readonly containers: string;
  /** Step journals by workload uid; apart from the workloads, as a journal outlives a deleted one. */
  readonly journals: string;
}

export interface WorkloadFolder {
  readonly root: string;
  readonly spec: string;
  readonly manifest: string;
  readonly seed: string;
  readonly console: string;
  readonly log: string;
  /** The one folder that the VM's process may write names into: its sockets. */
  readonly run: string;
  readonly qmpSocket: string;
  readonly agentSocket: string;
  readonly checkpoints: string;
  /** Kernel and initrd of a VM that boots them without an image. */
  readonly boot: string;
  readonly bootFiles: { readonly kernel: string; readonly initrd: string };
  layer(disk: string, layer: string): string;
  disk(disk: string): string;
  checkpoint(uid: string): string;
}

export function dataFolder(root: string): DataFolder {
  return {
    root,
    images: join(root, "images"),
    workloads: join(root, "workloads"),
    containers: join(root, "containers"),
    journals: join(root, "journals"),
  };
}

export function workloadFolder(data: DataFolder, uid: string): WorkloadFolder {
  const root = join(data.workloads, checkUid(uid));
  const run = join(root, "run");
  const checkpoints = join(root, "checkpoints");
  const boot = join(root, "boot");
  const disk = (id: string) => join(root, "disks", checkDiskId(id));
  return {
    root,
    spec: join(root, "spec.json"),
    manifest: join(root, "manifest.json"),
    seed: join(root, "seed.iso"),
    console: join(root, "console.log"),
    log: join(root, "qemu.log"),
    run,
    qmpSocket: join(run, "qmp.sock"),
    agentSocket: join(run, "agent.sock"),
    checkpoints,
    boot,
    bootFiles: { kernel: join(boot, "kernel"), initrd: join(boot, "initrd") },
    disk,
    layer: (id, layer) => join(disk(id), `${layer}.qcow2`),
    checkpoint: (checkpoint) => join(checkpoints, checkUid(checkpoint)),
  };
}

/** Gives a uid back when it is one: `<prefix>-<uuid>`. @throws StillpointError ARGUMENT_INVALID */
export function checkUid(uid: string): string {
  if (/^[a-z]{2,12}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uid)) return uid;
  throw new StillpointError("ARGUMENT_INVALID", `${JSON.stringify(uid)} is not a uid such as vm-<uuid>`);
}

function checkDiskId(id: string): string {
  if (/^[a-z][a-z0-9]{0,15}$/.test(id)) return id;
  throw new StillpointError("ARGUMENT_INVALID", `${JSON.stringify(id)} is not a disk id such as root or disk1`);
}
