import { readFile } from "node:fs/promises";
import { StillpointError } from "#libs/errors";
import { writeDurably } from "./durable-file.ts";
import { hashOf, withHash } from "./own-sum.ts";

/** One qcow2 file of a disk. Its name is its id; it never moves. */
export interface Layer {
  readonly disk: string;
  /** The layer below; null for the bottom one of its disk. */
  readonly parent: string | null;
  /** What the bottom layer stands on: an image `<repository>@sha256:...`, or null for nothing. Null for all others. */
  readonly base: string | null;
}

/** What must be equal for RAM to be loaded again. */
export interface MachineFacts {
  readonly qemu: string;
  readonly machineType: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Ids of the disks, in the order of their devices. */
  readonly disks: readonly string[];
}

export type CheckpointKind = "production" | "standard" | "offline";

export interface CheckpointEntry {
  readonly kind: CheckpointKind;
  readonly parent: string | null;
  /** The frozen top layer of each disk; a disk that was excluded is not named. */
  readonly layers: Readonly<Record<string, string>>;
  readonly machine: MachineFacts;
  /** Its user had paused the VM: applied, it stands still again. */
  readonly paused?: boolean;
  /** The operation that took it. */
  readonly operation: string;
}

/** A checkpoint that is being taken: whether its layers are in use is seen in the block graph, not here. */
export interface PendingTake {
  readonly operation: string;
  readonly checkpoint: string;
  /** The new layer of each disk that takes part. */
  readonly layers: Readonly<Record<string, string>>;
  /** The agent itself stops the VM for a moment; a VM found paused must go on. */
  readonly ownStop: boolean;
}

/** A checkpoint on its way here: its layers are named before they are made. */
export interface Receiving {
  readonly operation: string;
  readonly checkpoint: string;
  readonly plan: ReceivePlan;
}

/** Kernel and initrd in the workload's folder boot/. */
export interface BootFiles {
  /** sha256:... of the files. */
  readonly kernel: string;
  readonly initrd?: string;
  readonly cmdline: string;
}

/**
 * The truth about a workload's files on this host. Written as a whole, durably, before or after each effect:
 * new files are named here (pending) before they are made, and removed only when nothing here names them.
 */
export interface Manifest {
  readonly version: 1;
  readonly uid: string;
  readonly owner: { readonly operation: string; readonly epoch: number };
  readonly machineType: string;
  readonly generationId: string;
  /** The system user that runs it; null is the agent's own. */
  readonly processUid: number | null;
  /** What is known of the machine: one that is "on" and is not found has crashed. */
  readonly power: "on" | "off" | "crashed";
  readonly disks: Readonly<Record<string, { readonly sizeBytes: number; readonly now: string }>>;
  readonly layers: Readonly<Record<string, Layer>>;
  readonly checkpoints: Readonly<Record<string, CheckpointEntry>>;
  /** The checkpoint that now goes on from; null before the first. */
  readonly head: string | null;
  readonly pending: PendingTake | null;
  /** A checkpoint that is being received from elsewhere. */
  readonly receiving?: Receiving | null;
  /** What the VM boots instead of what its image has. */
  readonly boot?: BootFiles;
  /** Its machine was started as a child of the fence guard: one that is not is none of ours to let run. */
  readonly fenced?: boolean;
  /** It runs elsewhere or is gone: its process was ended, and no agent starts it here again. */
  readonly leftBehind?: LeftBehind;
}

export interface LeftBehind {
  /** When the word came, as ISO 8601. */
  readonly time: string;
}

interface Versioned {
  readonly version: 1;
}

/** @throws StillpointError CHECKPOINT_DAMAGED when the file is not what was written */
export async function readManifest<M extends Versioned = Manifest>(path: string): Promise<M> {
  const text = await readFile(path, "utf8");
  const { hash, ...manifest } = JSON.parse(text) as Versioned & { hash: string };
  if (manifest.version === 1 && hash === hashOf(manifest)) return manifest as M;
  throw new StillpointError("CHECKPOINT_DAMAGED", `${path} is not what was written`, {
    help: "Restore the file from a backup of the host.",
  });
}

export async function writeManifest(path: string, manifest: Versioned): Promise<void> {
  await writeDurably(path, withHash(manifest));
}

/** A checkpoint as it will be in the workload that receives it. */
export interface ReceivePlan {
  readonly kind: CheckpointKind;
  readonly machine: MachineFacts;
  /** Its user had paused the VM. */
  readonly paused: boolean;
  /** Every layer by its id: whole chains, or one layer for each disk that stands on nothing. */
  readonly layers: Readonly<Record<string, Layer>>;
  /** The top layer of each disk. */
  readonly tops: Readonly<Record<string, string>>;
  /** Size of each disk as the guest sees it, in bytes. */
  readonly diskBytes: Readonly<Record<string, number>>;
  /** What the VM boots when it has no image: its files are in `places.boot`. */
  readonly boot?: BootFiles;
}
