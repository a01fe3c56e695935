import type {
  PlaceRequest,
  Requirements as RequirementsMessage,
  SchedulerServiceImplementation,
} from "#contracts/scheduler/v1/scheduler";
import { authorise } from "#libs/auth";
import { errorTable, isStillpointError, StillpointError } from "#libs/errors";
import { parseHostName } from "#libs/names";
import type { CallScope } from "#libs/rpc";
import type { Requirements, Reservation } from "./domain/host.ts";
import { toNeeds } from "./hosts/written.ts";
import { forwardedHeader } from "./owners/forwarding.ts";
import { toResult } from "./placement/other-replicas.ts";
import type { Placements } from "./placement/placements.ts";

/** Place, Release and Explain: what other services ask. */
export function schedulerHandlers(placements: Placements): SchedulerServiceImplementation<CallScope> {
  return {
    async place(request, { principal }) {
      authorise(principal, "create", request.workload);
      return await placements.place(toWish(request));
    },

    async placeBatch({ requests }, { principal, metadata }) {
      for (const { workload } of requests) authorise(principal, "create", workload);
      if (requests.length > mostWishes) {
        throw new StillpointError("ARGUMENT_INVALID", `requests are more than ${mostWishes}: ${requests.length}`);
      }
      const wishes = requests.map(toWish);
      const isForwarded = metadata.has(forwardedHeader);
      const answers = await (isForwarded ? placements.placeHere(wishes) : placements.placeAll(wishes));
      const unanswered = answers.find(
        (answer) => isStillpointError(answer) && answer.code === errorTable.UNAVAILABLE.code,
      );
      // The caller asks again for all: those that were placed get the same answer.
      if (isStillpointError(unanswered)) throw unanswered;
      return { results: answers.map(toResult) };
    },

    async release({ uid, host, epoch }, { principal }) {
      authorise(principal, "delete", "hosts/-");
      if (host !== "") parseHostName(host);
      await placements.release({ uid: given("uid", uid), epoch }, host === "" ? undefined : host);
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

const mostWishes = 256;

function toWish({ workload, uid, operation, epoch, requirements }: PlaceRequest): Reservation {
  return {
    workload: given("workload", workload),
    uid: given("uid", uid),
    operation: given("operation", operation),
    epoch,
    requirements: checkRequirements(requirements),
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
