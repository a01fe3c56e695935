/**
 * What a checkpoint type allows, and what is done next. Pure: the whole policy is in the two tables below.
 *
 * Which type holds (columns: the VM's own; rows: what was asked for):
 *
 *     asked            | production | production-only | standard | disabled
 *     nothing          | own        | own             | own      | refused
 *     production       | yes        | refused         | yes      | refused
 *     production-only  | yes        | yes             | yes      | refused
 *     standard         | yes        | refused         | yes      | refused
 *
 * One may ask for more proof than the VM's policy demands, never for less: `production` may end in a standard
 * checkpoint, so a production-only VM does not allow it.
 *
 * What is taken (columns: the condition of the VM):
 *
 *     type             | running                      | paused              | off     | crashed
 *     production       | production, else standard    | standard, fell back | offline | offline
 *     production-only  | production, else refused     | refused             | offline | refused
 *     standard         | standard                     | standard            | offline | offline
 *
 * Where memory cannot be part of it, `standard` is refused and `production` does not fall back: with a disk left out, as
 * RAM and a disk of another time do not fit together, and of a container whose host has no CRIU.
 *
 * A container whose application nobody brings to rest (no quiesce command) gives production with that reason: its
 * processes stand still at one instant, so its files are whole. production-only asks for an application at rest, and
 * refuses it before anything is tried.
 *
 * A paused VM is never frozen: the freeze would wait in its queue and catch the guest when it goes on.
 * The disks of a VM that crashed are only crash-consistent, and the receipt says so.
 */

export type CheckpointType = "production" | "production-only" | "standard" | "disabled";
export type TakenType = Exclude<CheckpointType, "disabled">;

/** A VM as the policy sees it. */
export type Condition = "running" | "paused" | "off" | "crashed";

/** Why something weaker was taken, or nothing at all. `code` is stable: "agent.absent", "vm.paused". */
export interface Cause {
  readonly code: string;
  readonly detail: string;
}

export type TypeChoice =
  | { readonly allowed: true; readonly type: TakenType }
  | { readonly allowed: false; readonly why: "disabled" | "not-allowed" };

export type Decision =
  | { readonly action: "production" | "offline"; readonly cause?: Cause }
  | { readonly action: "standard"; readonly fellBack: boolean; readonly cause?: Cause }
  | { readonly action: "refuse"; readonly cause: Cause };

/** The type that holds for one checkpoint. `asked` undefined takes the VM's own. */
export function chooseType(asked: TakenType | undefined, own: CheckpointType): TypeChoice {
  if (own === "disabled") return { allowed: false, why: "disabled" };
  const type = asked ?? own;
  if (own === "production-only" && type !== "production-only") return { allowed: false, why: "not-allowed" };
  return { allowed: true, type };
}

const crashed: Cause = { code: "vm.crashed", detail: "the VM ended without a shutdown of the guest" };
const paused: Cause = { code: "vm.paused", detail: "a paused VM cannot be frozen" };

/** What is known to stand against a checkpoint before anything is tried. */
export interface Hindrances {
  /** Why its memory cannot be saved. */
  readonly memory?: Cause;
  /** Why its application cannot be brought to rest. */
  readonly rest?: Cause;
}

export const diskExcluded: Cause = {
  code: "disk.excluded",
  detail: "RAM does not fit together with a disk that is left out",
};

export const quiesceAbsent: Cause = { code: "quiesce.absent", detail: "the container has no quiesce command" };

export const criuAbsent: Cause = {
  code: "criu.absent",
  detail: "the container's host cannot save the memory of containers",
};

/** What to take first. */
export function decideFirst(type: TakenType, condition: Condition, { memory, rest }: Hindrances = {}): Decision {
  if (condition === "off") return { action: "offline" };
  if (condition === "crashed") {
    return type === "production-only" ? { action: "refuse", cause: crashed } : { action: "offline", cause: crashed };
  }
  if (type === "standard") {
    return memory === undefined ? { action: "standard", fellBack: false } : { action: "refuse", cause: memory };
  }
  if (condition === "paused") return decideWithoutProduction(type, paused, memory);
  return type === "production-only" && rest !== undefined
    ? { action: "refuse", cause: rest }
    : { action: "production" };
}

/**
 * What to do when production was tried and not reached, or was not proven. A guest that had just powered off needs
 * no freeze.
 */
export function decideWithoutProduction(type: TakenType, cause: Cause, memory?: Cause): Decision {
  if (cause.code === "vm.off" || cause.code === "container.off") return { action: "offline" };
  if (type === "production-only") return { action: "refuse", cause };
  if (memory !== undefined) return { action: "refuse", cause: withoutBoth(cause, memory) };
  return { action: "standard", fellBack: true, cause };
}

/** Why there is no production, and that there is nothing to fall back to. */
export function withoutBoth({ code, detail }: Cause, memory: Cause): Cause {
  const why = `standard could not be had either (${memory.code}: ${memory.detail})`;
  return { code, detail: detail === "" ? why : `${detail}; ${why}` };
}

/** What to do for an offline checkpoint whose disks turned out not to be clean, as after a power cut. */
export function decideUncleanOffline(type: TakenType, cause: Cause): Decision {
  return type === "production-only" ? { action: "refuse", cause } : { action: "offline", cause };
}
