import { type Cause, type Decision, withoutBoth } from "./policy.ts";

/** Why a workload is weaker than it could be: because another of its group is. */
export const memberFailed = "group.member_failed";

/**
 * What the members of a group do next, from what each would do by itself: all the same. When one cannot be taken as
 * production, its decision (standard, or nothing) holds for every member that could; the others say why. Members that
 * are off keep to their disks, which are at rest. One of `withoutMemory`, with the reason why, cannot follow to standard
 * and so refuses all. Pure.
 */
export function decideTogether(
  decisions: ReadonlyMap<string, Decision>,
  withoutMemory: ReadonlyMap<string, Cause> = new Map(),
): Map<string, Decision> {
  const weaker = [...decisions].flatMap(([vm, decision]) => {
    const cause = causeOfLess(decision);
    return cause === undefined ? [] : [{ vm, cause, action: decision.action }];
  });
  const own = weaker.filter(({ cause }) => cause.code !== memberFailed);
  // Where none has a reason of its own, one was given up for another that could be taken when it was tried again.
  const reasons = own.length > 0 ? own : weaker;
  const first = reasons.find(({ action }) => action === "refuse") ?? reasons[0];
  if (first === undefined) return new Map(decisions);
  const cause = first.cause.code === memberFailed ? first.cause : told(first.vm, first.cause);
  const followed = (vm: string): Decision => {
    if (first.action === "refuse") return { action: "refuse", cause };
    const memory = withoutMemory.get(vm);
    return memory === undefined
      ? { action: "standard", fellBack: true, cause }
      : { action: "refuse", cause: withoutBoth(cause, memory) };
  };
  const follows = (decision: Decision) => decision.action === "production" || decision.cause?.code === memberFailed;
  return new Map([...decisions].map(([vm, decision]) => [vm, follows(decision) ? followed(vm) : decision]));
}

/** For the others of its group. */
function told(vm: string, { code, detail }: Cause): Cause {
  return { code: memberFailed, detail: `${vm}: ${detail === "" ? code : `${code}: ${detail}`}` };
}

/** Why a member is not taken as production though that was wanted. */
function causeOfLess(decision: Decision): Cause | undefined {
  const isLess = decision.action === "refuse" || (decision.action === "standard" && decision.fellBack);
  return isLess ? decision.cause : undefined;
}
