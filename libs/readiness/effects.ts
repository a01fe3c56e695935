import type { Finding } from "#contracts/vm/v1/vm";

type Kind = "production" | "production-only" | "standard" | "offline";

/** What a finding does to each kind of checkpoint. */
export interface Effect {
  /** Kinds that cannot be had. */
  readonly hinders: readonly Kind[];
  /** Kinds that promise less than they could. */
  readonly weakens: readonly Kind[];
  /** The VM does not run: its disks are taken as they are, whichever kind is asked for. */
  readonly isOff: boolean;
}

const nothing: Effect = { hinders: [], weakens: [], isOff: false };
const hindersProduction: Effect = { ...nothing, hinders: ["production"] };
const weakensProduction: Effect = { ...nothing, weakens: ["production"] };

const effects: Readonly<Record<string, Effect>> = {
  "vm.off": { ...nothing, isOff: true },
  "vm.crashed": { hinders: ["production"], weakens: ["standard"], isOff: true },
  "vm.paused": hindersProduction,
  "agent.absent": hindersProduction,
  "agent.unresponsive": hindersProduction,
  "agent.rpc_disabled": hindersProduction,
  "agent.already_frozen": hindersProduction,
  "freeze.none_frozen": hindersProduction,
  "hook.failed": hindersProduction,
  "hooks.disabled": weakensProduction,
  "writers.missing": weakensProduction,
  "mount.not_freezable": weakensProduction,
  "space.insufficient": { ...nothing, hinders: ["production", "standard", "offline"] },
  // Enough for disks, not for RAM.
  "space.insufficient_for_ram": { ...nothing, hinders: ["standard"] },
  "container.off": { ...nothing, isOff: true },
  "container.paused": { ...nothing, hinders: ["production", "standard"] },
  "container.restarting": { ...nothing, hinders: ["production", "standard", "offline"] },
  // Its processes stand still at one instant all the same: whole, but not at rest.
  "quiesce.absent": { ...nothing, hinders: ["production-only"], weakens: ["production"] },
  "criu.absent": { ...nothing, hinders: ["standard"] },
  "disk.excluded": { ...nothing, hinders: ["standard"] },
  "ram.blocked_device": { ...nothing, hinders: ["standard"] },
  // Saved by copying while it runs: it works, and the guest stands still for longer.
  "ram.uffd_unavailable": { ...nothing, weakens: ["standard"] },
};

/** A code that is not known, as of a newer agent, changes nothing. */
export const effectOf = ({ code }: Pick<Finding, "code">): Effect => effects[code] ?? nothing;
