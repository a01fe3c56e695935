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
 * With a disk left out, nothing that holds RAM is taken of a VM that has any: RAM and a disk of another time do not fit
 * together. `standard` is refused then, and `production` does not fall back.
 *
 * A container whose application nobody brings to rest (no quiesce command) gives production with that reason: its
 * processes stand still at one instant, so its files are whole. production-only asks for an application at rest, and
 * refuses it.
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

const diskExcluded: Cause = {
  code: "disk.excluded",
  detail: "RAM does not fit together with a disk that is left out",
};

/** What to take first; `excludes` is true when a disk is left out. */
export function decideFirst(type: TakenType, condition: Condition, excludes: boolean): Decision {
  if (condition === "off") return { action: "offline" };
  if (condition === "crashed") {
    return type === "production-only" ? { action: "refuse", cause: crashed } : { action: "offline", cause: crashed };
  }
  if (type === "standard") {
    return excludes ? { action: "refuse", cause: diskExcluded } : { action: "standard", fellBack: false };
  }
  return condition === "paused" ? decideWithoutProduction(type, paused, excludes) : { action: "production" };
}

/**
 * What to do when production was tried and not reached, or was not proven. A guest that had just powered off needs
 * no freeze.
 */
export function decideWithoutProduction(type: TakenType, cause: Cause, excludes: boolean): Decision {
  if (cause.code === "vm.off" || cause.code === "container.off") return { action: "offline" };
  if (type === "production-only") return { action: "refuse", cause };
  if (excludes) return { action: "refuse", cause: { ...cause, detail: neither(cause) } };
  return { action: "standard", fellBack: true, cause };
}

const neither = ({ detail }: Cause) =>
  `${detail === "" ? "" : `${detail}; `}standard could not be had either: ${diskExcluded.detail}`;

/** What to do for an offline checkpoint whose disks turned out not to be clean, as after a power cut. */
export function decideUncleanOffline(type: TakenType, cause: Cause): Decision {
  return type === "production-only" ? { action: "refuse", cause } : { action: "offline", cause };
}
