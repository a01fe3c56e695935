import type { GuestAgentChannel } from "./qemu/guest-agent.ts";

/** What runs machines. QEMU is one; another hypervisor is another adapter. */
export interface Hypervisor {
  /** For example "7.2.22". */
  readonly version: string;
  /** Pinned and versioned, for machines made from now on: "pc-q35-7.2". */
  readonly machineType: string;
  /** "kvm" or "tcg". */
  readonly accelerator: string;
  readonly cpu: string;
  /** Starts a machine and waits until it runs. With `incoming` it waits for RAM instead (`loadMemory`). */
  start(spec: MachineSpec, options: { readonly incoming: boolean }): Promise<Machine>;
  /** The machine of a workload that already runs, perhaps since before this agent; undefined when there is none. */
  adopt(spec: Pick<MachineSpec, "uid" | "root" | "fenced">): Promise<Machine | undefined>;
}

export interface MachineSpec {
  readonly uid: string;
  /** The workload's folder; the machine's process works in it. */
  readonly root: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly machineType: string;
  readonly generationId: string;
  readonly disks: readonly MachineDisk[];
  readonly ports: readonly { readonly hostPort: number; readonly guestPort: number }[];
  /** The guest reaches nothing over its network card. */
  readonly isolated: boolean;
  /** Boot of a kernel without a boot loader. */
  readonly kernel?: { readonly path: string; readonly initrd?: string; readonly cmdline: string };
  /** NoCloud seed image. */
  readonly seed?: string;
  readonly processUid: number | null;
  /** It must not run without the host's lease: the fence guard is its parent. One that has another is ended. */
  readonly fenced: boolean;
}

export interface MachineDisk {
  readonly id: string;
  /** From the base to the layer that is written to. */
  readonly chain: readonly LayerFile[];
}

export interface LayerFile {
  /** Layer id, or the image's digest for its base. */
  readonly id: string;
  readonly path: string;
  readonly format: "raw" | "qcow2";
}

export type MachineState = "running" | "paused" | "shutdown" | "incoming" | "migrated";

/** How a machine ended: its guest or its owner ended it, or it fell. */
export interface MachineEnd {
  readonly orderly: boolean;
  readonly reason: string;
}

/** Time on the hypervisor's clock, in ms since 1970 with a fraction. */
export type EventTimes = Readonly<Record<string, number>>;

export interface Machine {
  readonly pid: number;
  readonly startTime: Date;
  readonly guest: GuestAgentChannel;
  /** Resolves when the process is gone. */
  readonly ended: Promise<MachineEnd>;
  state(): Promise<MachineState>;
  /** Gives the time at which it stopped; undefined when it stood already. */
  pause(): Promise<number | undefined>;
  resume(): Promise<void>;
  powerButton(): Promise<void>;
  reset(): Promise<void>;
  /** Ends the process at once and waits until it is gone. */
  end(): Promise<void>;
  /** Ends a machine whose guest has shut down (state "shutdown"). */
  endAfterShutdown(): Promise<void>;
  /** Lets go of a machine that runs on; it can be adopted again. */
  release(): void;
  /** Whether the guest has opened its agent's port, now and at each change. */
  guestIsListening(): Promise<boolean>;
  onGuestListening(listener: (open: boolean) => void): void;
  /** Called each time that a machine that stood goes on. */
  onResume(listener: () => void): void;
  /** Whether it stands because the host has no room for what its guest writes, now and when that may have changed. */
  isStarved(): Promise<boolean>;
  onStarved(listener: () => void): void;
  readonly layers: MachineLayers;
  readonly memory: MachineMemory;
}

/** The disks of a running machine. */
export interface MachineLayers {
  /** Opens a layer that is not in use yet. Opening it again changes nothing. */
  prepare(layer: LayerFile): Promise<void>;
  /** Closes layers that are not in use, in whatever order they stand on each other. */
  drop(layers: readonly string[]): Promise<void>;
  /** Puts each new layer over the old one, for all disks at one instant or for none. */
  switchOver(switches: readonly { readonly from: string; readonly to: string }[]): Promise<void>;
  /** The layers of each disk in use, from the one that is written to downwards. */
  inUse(): Promise<Map<string, string[]>>;
  /** Writes the top layer of a disk down into the one below, which is written to from then on. */
  commitTop(disk: string, top: string, below: string): Promise<void>;
  /**
   * Copies what lies between a layer and `base` (null: all below) up into it; then it stands on `base`, durably.
   * What is copied already is passed over. Cancelled, the layer holds more than before and reads the same.
   */
  pullUp(into: LayerFile, base: LayerFile | null, control: MergeControl): Promise<void>;
  /**
   * Writes what lies above `into`, up to `top`, down into it, durably; then it takes top's place under `above`, whose
   * file says so. Without `above` it is what the machine writes to from then on: `switching` is called just before, while
   * both read the same and nothing is written. Cancelled or failed before that, the chain reads the same as ever.
   */
  pushDown(commit: PushDown, control: MergeControl, switching: () => Promise<void>): Promise<void>;
  /** Ends the work on layers that an earlier agent began. @param now the layers that machines are to write to */
  settle(now: readonly string[]): Promise<void>;
}

export interface PushDown {
  readonly top: LayerFile;
  readonly into: LayerFile;
  /** What stands on `top`; null where nothing does. */
  readonly above: LayerFile | null;
  /** The layer that is written to, in whose chain all that is. */
  readonly device: string;
}

export interface MergeControl {
  readonly signal: AbortSignal;
  /** Bytes of the disk that were looked at. */
  readonly progress: (doneBytes: number, totalBytes: number) => void | Promise<void>;
  /** 0 is as fast as it goes. */
  readonly bytesPerSecond: number;
}

/** RAM of a running machine. */
export interface MachineMemory {
  /**
   * Sends RAM to the unix socket `path` as of one instant, at which `freezeDisks` is called while the machine
   * stands. Whatever happens, a machine that ran goes on. Resolves when all is sent.
   */
  save(path: string, freezeDisks: () => Promise<void>): Promise<SavedMemory>;
  /** What stands against saving RAM now; found without touching the guest. */
  obstacles(): Promise<MemoryObstacles>;
  /** Loads RAM into a machine that was started for it; `send` is called when it listens at the unix socket `path`. */
  load(path: string, send: (path: string) => Promise<void>): Promise<void>;
}

export interface MemoryObstacles {
  /** Why it cannot be saved at all, in the hypervisor's words; empty when it can. */
  readonly blocked: readonly string[];
  /** Why the guest stands still for longer than an instant meanwhile; empty when it does not. */
  readonly slow: string;
}

export interface SavedMemory {
  readonly method: "background-snapshot" | "pre-copy";
  /** How long the guest stood still; 0 when its user had paused it. */
  readonly pauseMs: number;
  /** For a machine that its user had paused: how long it ran before it stood again. */
  readonly ranMs: number;
  readonly times: EventTimes;
}

export interface LocalImage {
  readonly digest: string;
  /** Raw, read-only. */
  readonly disk: string;
  readonly virtualSizeBytes: number;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
}

export interface TransferControl {
  readonly signal: AbortSignal;
  readonly progress: (update: { readonly bytesDone: number; readonly bytesTotal: number }) => void;
}

/** An image that stays at least until it is let go: by then a workload must stand on it. */
export interface HeldImage extends LocalImage, Disposable {}

/** Images on this host, by digest. @param reference `<repository>@sha256:...` */
export interface ImageStore {
  /** Gets an image unless it is here. */
  pull(reference: string, control: TransferControl): Promise<HeldImage>;
  /** An image that a workload stands on. @throws StillpointError IMAGE_NOT_FOUND when it is gone from everywhere */
  find(reference: string): Promise<LocalImage>;
  /** Says that a workload that used these images until now is gone. */
  release(references: Iterable<string>): Promise<void>;
}

export interface OfflineMerge {
  /** The workload's folder. */
  readonly root: string;
  readonly processUid: number | null;
  /** From the base to the layer that is written to. */
  readonly chain: readonly LayerFile[];
  /** What that layer stands on in the end. */
  readonly base: LayerFile | null;
}

/** Disk files that no machine has open. */
export interface DiskStore {
  /** A new layer over `below` (nothing: an empty disk), owned by the machine's user. One that exists is left alone. */
  create(layer: {
    readonly path: string;
    readonly below?: LayerFile;
    readonly sizeBytes: number;
    readonly processUid: number | null;
  }): Promise<void>;
  /** Writes what a guest sees of a layer, through its whole chain, into a new file that stands alone. */
  flatten(path: string, target: string, signal: AbortSignal): Promise<void>;
  /** The same as of a machine, of a chain (base first) whose top no machine has open. */
  pullUp(merge: OfflineMerge, control: MergeControl): Promise<void>;
  /** Writes what a chain (base first) holds above `into` down into that, durably. */
  pushDown(merge: Omit<OfflineMerge, "base"> & { readonly into: LayerFile }, control: MergeControl): Promise<void>;
  /** Whether a layer's file says that it stands on `below`. */
  standsOn(path: string, below: string): Promise<boolean>;
  /** Makes a layer's file say so, durably. Both must read the same. */
  restOn(path: string, below: string): Promise<void>;
  /** Writes a layer's data down into the one below. */
  commit(path: string, below: string): Promise<void>;
  /** @throws StillpointError CHECKPOINT_DAMAGED */
  check(path: string, signal?: AbortSignal): Promise<void>;
  /** Makes a layer the agent's, for all to read; who may walk to it is said by its folder. */
  seal(path: string): Promise<void>;
  /** Gives a layer back to the machine's user to write. @throws StillpointError INTERNAL when another workload has it too */
  unseal(path: string, processUid: number | null): Promise<void>;
  /** Whether another workload has a hard link to a layer. */
  isShared(path: string): Promise<boolean>;
  /** Bytes that are free where the disks are. */
  freeBytes(): Promise<number>;
  /** Bytes that a file takes on the host. */
  usedBytes(path: string): Promise<number>;
  /** Removes a layer; one that is gone already is no error. */
  remove(path: string): Promise<void>;
  /** Guest bytes through the whole chain, also while a machine reads it. */
  read(path: string, offset: number, length: number): Promise<Buffer>;
}
