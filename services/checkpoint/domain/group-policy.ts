import type { Cause, Decision } from "./policy.ts";

/** Why a VM is weaker than it could be: because another of its group is. */
export const memberFailed = "group.member_failed";

/**
 * What the members of a group do next, from what each would do by itself: all the same. When one cannot be taken as
 * production, its decision (standard, or nothing) holds for every member that could; the others say why. Members that
 * are off keep to their disks, which are at rest. One of `productionAtMost`, which leaves out disks, cannot follow to
 * standard and so refuses all. Pure.
 */
export function decideTogether(
  decisions: ReadonlyMap<string, Decision>,
  productionAtMost: ReadonlySet<string> = new Set(),
): Map<string, Decision> {
  const weakest = [...decisions].flatMap(([vm, decision]) => {
    const cause = ownCause(decision);
    return cause === undefined ? [] : [{ vm, cause, action: decision.action }];
  });
  const first = weakest.find(({ action }) => action === "refuse") ?? weakest[0];
  if (first === undefined) return new Map(decisions);
  const detail = first.cause.detail === "" ? first.cause.code : `${first.cause.code}: ${first.cause.detail}`;
  const cause = { code: memberFailed, detail: `${first.vm}: ${detail}` };
  const refused = (vm: string) => first.action === "refuse" || productionAtMost.has(vm);
  const followed = (vm: string): Decision =>
    refused(vm) ? { action: "refuse", cause } : { action: "standard", fellBack: true, cause };
  const follows = (decision: Decision) => decision.action === "production" || decision.cause?.code === memberFailed;
  return new Map([...decisions].map(([vm, decision]) => [vm, follows(decision) ? followed(vm) : decision]));
}

/** Why a member itself is not taken as production though that was wanted. */
function ownCause(decision: Decision): Cause | undefined {
  const isLess = decision.action === "refuse" || (decision.action === "standard" && decision.fellBack);
  return isLess && decision.cause?.code !== memberFailed ? decision.cause : undefined;
}
