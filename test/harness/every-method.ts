import { CheckpointsDefinition } from "#contracts/checkpoint/v1/checkpoint";
import { GroupsDefinition } from "#contracts/checkpoint/v1/group";
import { ProjectsDefinition } from "#contracts/checkpoint/v1/project";
import { SchedulesDefinition } from "#contracts/checkpoint/v1/schedule";
import { ContainersDefinition } from "#contracts/container/v1/container";
import { EventsDefinition } from "#contracts/event/v1/event";
import { AdminDefinition } from "#contracts/operation/v1/admin";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { AccountsDefinition } from "#contracts/registry/v1/accounts";
import { CollectionDefinition } from "#contracts/registry/v1/collection";
import { QuotasDefinition } from "#contracts/registry/v1/quotas";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { HostsDefinition, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { VmsDefinition } from "#contracts/vm/v1/vm";
import { isStillpointError } from "#libs/errors";
import { createRpcClient, type RpcClientOptions } from "#libs/rpc";

/** What people and services call, by the service of the control plane that answers. */
export const definitions = {
  operation: [AdminDefinition, OperationsDefinition, EventsDefinition],
  scheduler: [SchedulerDefinition, HostsDefinition],
  registry: [AccountsDefinition, CollectionDefinition, QuotasDefinition, ImagesDefinition],
  vm: [VmsDefinition],
  container: [ContainersDefinition],
  checkpoint: [CheckpointsDefinition, GroupsDefinition, SchedulesDefinition, ProjectsDefinition],
} as const;

type Definition = (typeof definitions)[keyof typeof definitions][number];
type Call = (request: unknown) => Promise<unknown> | AsyncIterable<unknown>;

/** Calls every method of these, with next to nothing in the request; gives those that did not say PERMISSION_DENIED, with why. */
export async function notDenied(
  all: readonly Definition[],
  address: string,
  options: RpcClientOptions,
): Promise<readonly string[]> {
  const answers: string[] = [];
  for (const definition of all) {
    const client = createRpcClient(definition, address, options) as unknown as Record<string, Call> & {
      close(): void;
    };
    for (const [name, method] of Object.entries(definition.methods)) {
      const asked = method.requestStream ? aboutNothingStreamed() : aboutNothing;
      const answer = await outcome(client, name, asked);
      if (answer !== "PERMISSION_DENIED") answers.push(`${definition.fullName}/${name}: ${answer}`);
    }
    client.close();
  }
  return answers;
}

/** Enough for every method to know what it is asked about; a batch has one in it, as none needs no right. */
const aboutNothing = {
  ...{ parent: "projects/default", groupId: "g", reference: "x:1", requests: [{}] },
  start: { name: "projects/default/containers/x", command: ["true"] },
};

async function* aboutNothingStreamed() {
  yield aboutNothing;
}

async function outcome(client: Record<string, Call>, name: string, asked: unknown): Promise<string> {
  try {
    const answer = client[name]?.(asked);
    if (answer !== undefined && Symbol.asyncIterator in answer) for await (const _ of answer) return "answered";
    else await answer;
    return "answered";
  } catch (error) {
    if (isStillpointError(error, "PERMISSION_DENIED")) return "PERMISSION_DENIED";
    return String(error);
  }
}
