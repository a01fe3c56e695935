import type { CheckpointReadiness } from "#contracts/vm/v1/vm";
import type { HostAgents } from "#libs/host-agent";
import { judgeReadiness } from "#libs/readiness";
import { excludedDisks } from "../domain/exclusions.ts";
import { policyType, typeWords } from "../records/contract-words.ts";
import { checkSettled, type FindDeps, findVm } from "./find-checkpoint.ts";
import { type ProjectDeps, projectType } from "./projects.ts";

export interface ReadinessDeps extends FindDeps, Pick<ProjectDeps, "projects"> {
  readonly agents: Pick<HostAgents, "inspectReadiness">;
}

/** What a checkpoint of a VM or container would give now, asked of its host and judged by the policy that holds. */
export async function checkReadiness(
  deps: ReadinessDeps,
  name: string,
  signal: AbortSignal,
): Promise<CheckpointReadiness> {
  const vm = await findVm(deps, name);
  checkSettled(vm);
  const seen = await deps.agents.inspectReadiness({ host: vm.body.host, uid: vm.uid }, signal);
  const inherited = await projectType(deps, name);
  const { spec } = vm.body;
  const excludes = excludedDisks(spec?.disks ?? [], []).length > 0;
  return judgeReadiness(seen, typeWords[policyType(spec?.checkpointType, inherited)], excludes);
}
