import { Recovery, type UpdateVmRequest, type Vm } from "#contracts/vm/v1/vm";
import type { Folded } from "#libs/workloads";
import { vmEvent } from "./vm-record.ts";

/** The VM with another recovery, as its host has it by now. */
export function changeRecovery(vm: Vm, recovery: Recovery): Folded<Vm> {
  const { spec } = vm;
  const from = recoveryOf(spec?.recovery);
  const to = recoveryOf(recovery);
  if (spec === undefined || from === to) return { body: vm, events: [] };
  const event = vmEvent("recovery_changed", vm, { from, to });
  return { body: { ...vm, spec: { ...spec, recovery: to } }, events: [event] };
}

/** The VM with another recovery point or drain policy; undefined when that is what it has. */
export function changePolicies(
  vm: Vm,
  { recoveryPoint, drain }: Pick<UpdateVmRequest, "recoveryPoint" | "drain">,
): Folded<Vm> | undefined {
  const { spec } = vm;
  if (spec === undefined) return undefined;
  const changed = {
    ...(recoveryPoint !== undefined && secondsOf(recoveryPoint) !== secondsOf(spec.recoveryPoint) && { recoveryPoint }),
    ...(drain !== undefined && drain !== spec.drain && { drain }),
  };
  if (Object.keys(changed).length === 0) return undefined;
  const to = {
    ...(changed.recoveryPoint && { recoveryPointSeconds: changed.recoveryPoint.seconds }),
    ...(changed.drain && { drain: changed.drain }),
  };
  return { body: { ...vm, spec: { ...spec, ...changed } }, events: [vmEvent("policies_changed", vm, to)] };
}

/** What is unsaid is none. */
const recoveryOf = (asked: Recovery | undefined): Recovery =>
  asked === undefined || asked === Recovery.UNSPECIFIED ? Recovery.NONE : asked;

const secondsOf = (length: { readonly seconds: number } | undefined) => length?.seconds;
