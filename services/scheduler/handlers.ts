import type {
  Requirements as RequirementsMessage,
  SchedulerServiceImplementation,
} from "#contracts/scheduler/v1/scheduler";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { parseHostName } from "#libs/names";
import type { CallScope } from "#libs/rpc";
import type { Requirements } from "./domain/host.ts";
import { toNeeds } from "./hosts/host-records.ts";
import type { Placements } from "./placements.ts";

/** Place, Release and Explain: what other services ask. */
export function schedulerHandlers(placements: Placements): SchedulerServiceImplementation<CallScope> {
  return {
    async place({ workload, uid, operation, requirements }, { principal }) {
      authorise(principal, "create", workload);
      const wanted = {
        workload: given("workload", workload),
        uid: given("uid", uid),
        operation: given("operation", operation),
        requirements: checkRequirements(requirements),
      };
      const { name, agentAddress } = await placements.place(wanted);
      return { host: name, agentAddress };
    },

    async release({ uid, host }, { principal }) {
      authorise(principal, "delete", "hosts/-");
      if (host !== "") parseHostName(host);
      await placements.release(given("uid", uid), host === "" ? undefined : host);
      return {};
    },

    async explain({ requirements }, { principal }) {
      authorise(principal, "list", "hosts/-");
      const { verdicts, suggestion } = placements.explain(checkRequirements(requirements));
      const hosts = verdicts.map(({ host, failure }) => ({ host, fits: failure === undefined, ...failure }));
      return { hosts, suggestion };
    },
  };
}

function given(field: string, value: string): string {
  if (value === "") throw new StillpointError("ARGUMENT_INVALID", `${field} is missing`);
  return value;
}

function checkRequirements(requirements: RequirementsMessage | undefined): Requirements {
  if (requirements === undefined) throw new StillpointError("ARGUMENT_INVALID", "requirements are missing");
  const { cpus, cpuMillis, memoryBytes, diskBytes } = requirements;
  const amounts = { cpus, cpu_millis: cpuMillis, memory_bytes: memoryBytes, disk_bytes: diskBytes };
  for (const [field, value] of Object.entries(amounts)) {
    if (value < 0) throw new StillpointError("ARGUMENT_INVALID", `requirements.${field} is below 0`);
  }
  return toNeeds(requirements);
}
