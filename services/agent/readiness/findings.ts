import { type Finding, Finding_Severity, type Mount } from "#contracts/vm/v1/vm";
import { RESERVE_BYTES } from "../checkpoints/space.ts";
import type { MemoryObstacles } from "../ports.ts";
import type { GuestAnswers, GuestFacts } from "./guest-facts.ts";
import { unheldMounts } from "./mounts.ts";

/** In bytes, but for the number of disks. */
export interface Space {
  readonly free: number;
  readonly disks: number;
  readonly memory: number;
}

/** What was seen of a VM, on its host and in its guest. */
export interface Seen {
  readonly condition: "running" | "paused" | "off" | "crashed";
  /** Absent unless the VM runs: a paused guest would answer when it goes on. */
  readonly guest?: GuestFacts;
  readonly mounts: readonly Mount[];
  /** Absent while the VM is off. */
  readonly memory?: MemoryObstacles;
  readonly space: Space;
}

/** Whatever decides over a checkpoint or weakens it. Severity and advice are for `judgeReadiness`. Pure. */
export function findingsOf(seen: Seen): Finding[] {
  return [
    ...conditionFindings(seen.condition),
    ...(seen.guest === undefined ? [] : guestFindings(seen.guest, seen.mounts)),
    ...(seen.memory === undefined ? [] : memoryFindings(seen.memory)),
    ...spaceFindings(seen.space, seen.condition),
  ];
}

const finding = (code: string, message: string): Finding => ({
  code,
  message,
  severity: Finding_Severity.UNSPECIFIED,
  help: "",
});

function conditionFindings(condition: Seen["condition"]): Finding[] {
  switch (condition) {
    case "running":
      return [];
    case "paused":
      return [finding("vm.paused", "the VM is paused")];
    case "off":
      return [finding("vm.off", "the VM is off: its disks need no freeze")];
    case "crashed":
      return [finding("vm.crashed", "the VM ended without a shutdown of the guest")];
  }
}

function guestFindings(guest: GuestFacts, mounts: readonly Mount[]): Finding[] {
  if (guest.state === "absent") return [finding("agent.absent", "no guest agent listens in the VM")];
  if (guest.state === "unresponsive") return [finding("agent.unresponsive", guest.detail)];
  // A frozen agent disables the freeze too, so this comes first.
  if (guest.isFrozen) return [finding("agent.already_frozen", "someone else has frozen the guest")];
  return [
    ...(guest.canFreeze ? [] : [finding("agent.rpc_disabled", "the guest agent does not allow freezing")]),
    ...hookFindings(guest),
    ...mountFindings(guest, mounts),
  ];
}

function hookFindings({ hook, writers }: GuestAnswers): Finding[] {
  if (hook === undefined) {
    return [finding("hooks.unknown", "the guest agent does not allow to ask whether it runs the freeze hook")];
  }
  if (hook.path === undefined) {
    return [finding("hooks.disabled", "the guest agent was started without a freeze hook (-F): no writer is called")];
  }
  if (!hook.isThere) return [finding("hook.failed", `the freeze hook ${hook.path} is not in the guest`)];
  return writerFindings(writers);
}

function writerFindings(writers: GuestAnswers["writers"]): Finding[] {
  if (writers === undefined) return [finding("writers.unknown", "the guest keeps no inventory of its writers")];
  const broken = writers.filter(({ state }) => state === "broken");
  if (broken.length > 0) {
    const told = broken.map(({ name, detail }) => (detail === "" ? name : `${name} (${detail})`));
    return [finding("hook.failed", `writers that cannot hold their applications: ${told.join(", ")}`)];
  }
  if (writers.some(({ state }) => state === "ready")) return [];
  return [finding("writers.missing", "no application in the guest is held by a writer")];
}

function mountFindings({ fileSystems }: GuestAnswers, mounts: readonly Mount[]): Finding[] {
  if (fileSystems === undefined) {
    return [finding("mounts.unknown", "the guest agent does not allow to ask what is mounted")];
  }
  if (!mounts.some(({ freezable }) => freezable)) {
    return [finding("freeze.none_frozen", "the guest has no file system to freeze")];
  }
  const unheld = unheldMounts(mounts).map(({ path, type }) => `${path} (${type})`);
  if (unheld.length === 0) return [];
  return [finding("mount.not_freezable", `mounts that a freeze does not hold: ${unheld.join(", ")}`)];
}

function memoryFindings({ blocked, slow }: MemoryObstacles): Finding[] {
  if (blocked.length > 0) return [finding("ram.blocked_device", `RAM cannot be saved: ${blocked.join("; ")}`)];
  if (slow === "") return [];
  return [finding("ram.uffd_unavailable", `RAM is copied while the guest runs, which pauses it for longer: ${slow}`)];
}

/** Disks need room in any case; RAM only of a VM that runs. */
function spaceFindings({ free, disks, memory }: Space, condition: Seen["condition"]): Finding[] {
  const forDisks = disks * RESERVE_BYTES;
  if (free < forDisks) return [finding("space.insufficient", `${free} bytes are free; ${forDisks} are needed`)];
  const hasRam = condition === "running" || condition === "paused";
  if (!hasRam || free >= forDisks + memory) return [];
  const message = `${free} bytes are free; ${forDisks + memory} are needed for a checkpoint with RAM`;
  return [finding("space.insufficient_for_ram", message)];
}
