import type { Vm } from "#contracts/vm/v1/vm";
import type { Excluded } from "../domain/exclusions.ts";
import { criuAbsent, diskExcluded, type Hindrances, quiesceAbsent } from "../domain/policy.ts";
import { containerOf } from "../records/workload-record.ts";
import type { JobDeps } from "./job-deps.ts";

/** The host's engine can write down running processes and begin with them again. */
const CRIU = "docker:checkpoint";

/** What stands against checkpoints of a workload, as its record and its host's tell. */
export async function hindrancesOf(
  { hosts }: Pick<JobDeps, "hosts">,
  workload: Vm,
  excluded: readonly Excluded[],
): Promise<Hindrances> {
  const container = containerOf(workload);
  const excludes = excluded.length > 0 ? { memory: diskExcluded } : {};
  if (container === undefined) return excludes;
  const capabilities = (await hosts.get(workload.host))?.body.capabilities ?? [];
  return {
    ...(capabilities.includes(CRIU) ? excludes : { memory: criuAbsent }),
    ...(container.spec?.quiesceCommand.length ? {} : { rest: quiesceAbsent }),
  };
}
